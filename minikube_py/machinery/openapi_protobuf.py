"""The protobuf form of an OpenAPI v2 document, which kubectl asks for before it validates a file.

In: the document as JSON data (``openapi.openapi_v2``). Out: the bytes of gnostic's message
``openapi.v2.Document``. Field numbers are facts of ``OpenAPIv2.proto``; each table names the JSON
keys of one message. Keys that begin with ``x-`` become vendor extensions, whose values travel as YAML
text (JSON is YAML). Keys without a number here are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from minikube_py.machinery.objects import Object
from minikube_py.machinery.wire import delimited, tag, varint

Encoder = Callable[[int, Any], bytes]
Fields = Mapping[str, tuple[int, Encoder]]
_FIXED64 = 1


def openapi_v2_protobuf(document: Object) -> bytes:
    """The document's bytes. Takes about half a second for all built-in kinds: call it in a thread."""
    return _message(_DOCUMENT, document, extensions=16)


def _message(table: Fields, value: Mapping[str, Any], *, extensions: int) -> bytes:
    parts = [table[key][1](table[key][0], item) for key, item in value.items() if key in table and item is not None]
    parts += [delimited(extensions, _named(key, _any(item))) for key, item in value.items() if key.startswith("x-")]
    return b"".join(parts)


def _text(number: int, value: str) -> bytes:
    return delimited(number, value.encode())


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _truth(number: int, value: bool) -> bytes:
    return tag(number, 0) + varint(int(value))


def _integer(number: int, value: int) -> bytes:
    return tag(number, 0) + varint(value)


def _double(number: int, value: float) -> bytes:
    return tag(number, _FIXED64) + struct.pack("<d", value)


def _any(value: Any) -> bytes:
    """``Any`` with its YAML text."""
    return _text(2, orjson.dumps(value).decode() + "\n")


def _free(number: int, value: Any) -> bytes:
    return delimited(number, _any(value))


def _frees(number: int, values: Iterable[Any]) -> bytes:
    return b"".join(_free(number, value) for value in values)


def _named(name: str, encoded: bytes) -> bytes:
    """A (name, value) pair, gnostic's form of a map entry."""
    return _text(1, name) + delimited(2, encoded)


def _map(encode: Callable[[Any], bytes], inner: int = 1) -> Encoder:
    """A message whose repeated field ``inner`` holds (name, value) pairs."""
    return lambda number, value: delimited(
        number, b"".join(delimited(inner, _named(name, encode(item))) for name, item in value.items())
    )


def _one(encode: Callable[[Any], bytes]) -> Encoder:
    return lambda number, value: delimited(number, encode(value))


def _many(encode: Callable[[Any], bytes]) -> Encoder:
    return lambda number, values: b"".join(delimited(number, encode(value)) for value in values)


def _schema(value: Mapping[str, Any]) -> bytes:
    return _message(_SCHEMA, value, extensions=31)


def _type_item(value: str | list[str]) -> bytes:
    return _texts(1, [value] if isinstance(value, str) else value)


def _items_item(value: Mapping[str, Any]) -> bytes:
    return delimited(1, _schema(value))


def _additional(value: Mapping[str, Any] | bool) -> bytes:
    return _truth(2, value) if isinstance(value, bool) else delimited(1, _schema(value))


def _reference(value: Mapping[str, Any]) -> bytes:
    return _text(1, value["$ref"]) + (_text(2, value["description"]) if "description" in value else b"")


def _parameter(value: Mapping[str, Any]) -> bytes:
    """``Parameter``: a body parameter, or one of the query, header, path."""
    if value.get("in") == "body":
        return delimited(1, _message(_BODY_PARAMETER, value, extensions=6))
    number, table, extensions = _PARAMETER_FORMS[str(value.get("in"))]
    return delimited(2, delimited(number, _message(table, value, extensions=extensions)))


def _parameters_item(value: Mapping[str, Any]) -> bytes:
    return delimited(2, _reference(value)) if "$ref" in value else delimited(1, _parameter(value))


def _response_value(value: Mapping[str, Any]) -> bytes:
    if "$ref" in value:
        return delimited(2, _reference(value))
    return delimited(1, _message(_RESPONSE, value, extensions=5))


def _operation(value: Mapping[str, Any]) -> bytes:
    return _message(_OPERATION, value, extensions=13)


def _path_item(value: Mapping[str, Any]) -> bytes:
    return _message(_PATH_ITEM, value, extensions=10)


def _security_definition(value: Mapping[str, Any]) -> bytes:
    return delimited(2, _message(_API_KEY, value, extensions=5))


def _string_array(values: Iterable[str]) -> bytes:
    return _texts(1, values)


def _security_requirement(value: Mapping[str, Any]) -> bytes:
    return b"".join(delimited(1, _named(name, _string_array(items))) for name, items in value.items())


_INFO: Fields = {"title": (1, _text), "version": (2, _text), "description": (3, _text)}
_API_KEY: Fields = {"type": (1, _text), "name": (2, _text), "in": (3, _text), "description": (4, _text)}
_SCHEMA: Fields = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _free),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _truth),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _truth),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _text),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _truth),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _texts),
    "enum": (20, _frees),
    "additionalProperties": (21, _one(_additional)),
    "type": (22, _one(_type_item)),
    "items": (23, _one(_items_item)),
    "allOf": (24, _many(_schema)),
    "properties": (25, _map(_schema)),
    "readOnly": (27, _truth),
    "example": (30, _free),
}
_BODY_PARAMETER: Fields = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _truth),
    "schema": (5, _one(_schema)),
}
_COMMON: Fields = {"required": (1, _truth), "in": (2, _text), "description": (3, _text), "name": (4, _text)}
_HEADER: Fields = {**_COMMON, "type": (5, _text), "format": (6, _text), "uniqueItems": (19, _truth)}
_QUERY: Fields = {**_COMMON, "type": (6, _text), "format": (7, _text), "uniqueItems": (20, _truth)}
_PATH: Fields = {**_COMMON, "type": (5, _text), "format": (6, _text), "uniqueItems": (19, _truth)}
_PARAMETER_FORMS: Mapping[str, tuple[int, Fields, int]] = {
    "header": (1, _HEADER, 22),
    "query": (3, _QUERY, 23),
    "path": (4, _PATH, 22),
}


def _schema_item(value: Mapping[str, Any]) -> bytes:
    return delimited(1, _schema(value))


_RESPONSE: Fields = {"description": (1, _text), "schema": (2, _one(_schema_item))}
_OPERATION: Fields = {
    "tags": (1, _texts),
    "summary": (2, _text),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _many(_parameters_item)),
    "responses": (9, _map(_response_value)),
    "schemes": (10, _texts),
    "deprecated": (11, _truth),
}
_PATH_ITEM: Fields = {
    "get": (2, _one(_operation)),
    "put": (3, _one(_operation)),
    "post": (4, _one(_operation)),
    "delete": (5, _one(_operation)),
    "options": (6, _one(_operation)),
    "head": (7, _one(_operation)),
    "patch": (8, _one(_operation)),
    "parameters": (9, _many(_parameters_item)),
}
_DOCUMENT: Fields = {
    "swagger": (1, _text),
    "info": (2, _one(lambda value: _message(_INFO, value, extensions=7))),
    "host": (3, _text),
    "basePath": (4, _text),
    "schemes": (5, _texts),
    "consumes": (6, _texts),
    "produces": (7, _texts),
    "paths": (8, _map(_path_item, inner=2)),
    "definitions": (9, _map(_schema)),
    "parameters": (10, _map(_parameter)),
    "security": (12, _many(_security_requirement)),
    "securityDefinitions": (13, _map(_security_definition)),
}
