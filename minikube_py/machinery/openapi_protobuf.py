"""The protobuf form of an OpenAPI v2 document, which old kubectls ask for before they validate a file.

In: the document as JSON data (``openapi.openapi_v2``). Out: the bytes of gnostic's message
``openapi.v2.Document``. Field numbers are facts of ``OpenAPIv2.proto``; each table names the JSON
keys of one message (see ``openapi_protobuf_fields``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.machinery.objects import Object
from minikube_py.machinery.openapi_protobuf_fields import (
    Fields,
    double,
    free,
    frees,
    integer,
    many,
    mapping,
    message,
    named,
    one,
    text,
    texts,
    truth,
)
from minikube_py.machinery.wire import delimited


def openapi_v2_protobuf(document: Object) -> bytes:
    """The document's bytes. Takes about half a second for all built-in kinds: call it in a thread."""
    return message(_DOCUMENT, document, extensions=16)


def _schema(value: Mapping[str, Any]) -> bytes:
    return message(_SCHEMA, value, extensions=31)


def _type_item(value: str | list[str]) -> bytes:
    return texts(1, [value] if isinstance(value, str) else value)


def _items_item(value: Mapping[str, Any]) -> bytes:
    return delimited(1, _schema(value))


def _additional(value: Mapping[str, Any] | bool) -> bytes:
    return truth(2, value) if isinstance(value, bool) else delimited(1, _schema(value))


def _reference(value: Mapping[str, Any]) -> bytes:
    return text(1, value["$ref"]) + (text(2, value["description"]) if "description" in value else b"")


def _parameter(value: Mapping[str, Any]) -> bytes:
    """``Parameter``: a body parameter, or one of the query, header, path."""
    if value.get("in") == "body":
        return delimited(1, message(_BODY_PARAMETER, value, extensions=6))
    number, table, extensions = _PARAMETER_FORMS[str(value.get("in"))]
    return delimited(2, delimited(number, message(table, value, extensions=extensions)))


def _parameters_item(value: Mapping[str, Any]) -> bytes:
    return delimited(2, _reference(value)) if "$ref" in value else delimited(1, _parameter(value))


def _response_value(value: Mapping[str, Any]) -> bytes:
    if "$ref" in value:
        return delimited(2, _reference(value))
    return delimited(1, message(_RESPONSE, value, extensions=5))


def _operation(value: Mapping[str, Any]) -> bytes:
    return message(_OPERATION, value, extensions=13)


def _path_item(value: Mapping[str, Any]) -> bytes:
    return message(_PATH_ITEM, value, extensions=10)


def _security_definition(value: Mapping[str, Any]) -> bytes:
    return delimited(2, message(_API_KEY, value, extensions=5))


def _string_array(values: Iterable[str]) -> bytes:
    return texts(1, values)


def _security_requirement(value: Mapping[str, Any]) -> bytes:
    return b"".join(delimited(1, named(name, _string_array(items))) for name, items in value.items())


_INFO: Fields = {"title": (1, text), "version": (2, text), "description": (3, text)}
_API_KEY: Fields = {"type": (1, text), "name": (2, text), "in": (3, text), "description": (4, text)}
_SCHEMA: Fields = {
    "$ref": (1, text),
    "format": (2, text),
    "title": (3, text),
    "description": (4, text),
    "default": (5, free),
    "multipleOf": (6, double),
    "maximum": (7, double),
    "exclusiveMaximum": (8, truth),
    "minimum": (9, double),
    "exclusiveMinimum": (10, truth),
    "maxLength": (11, integer),
    "minLength": (12, integer),
    "pattern": (13, text),
    "maxItems": (14, integer),
    "minItems": (15, integer),
    "uniqueItems": (16, truth),
    "maxProperties": (17, integer),
    "minProperties": (18, integer),
    "required": (19, texts),
    "enum": (20, frees),
    "additionalProperties": (21, one(_additional)),
    "type": (22, one(_type_item)),
    "items": (23, one(_items_item)),
    "allOf": (24, many(_schema)),
    "properties": (25, mapping(_schema)),
    "readOnly": (27, truth),
    "example": (30, free),
}
_BODY_PARAMETER: Fields = {
    "description": (1, text),
    "name": (2, text),
    "in": (3, text),
    "required": (4, truth),
    "schema": (5, one(_schema)),
}
_COMMON: Fields = {"required": (1, truth), "in": (2, text), "description": (3, text), "name": (4, text)}
_HEADER: Fields = {**_COMMON, "type": (5, text), "format": (6, text), "uniqueItems": (19, truth)}
_QUERY: Fields = {**_COMMON, "type": (6, text), "format": (7, text), "uniqueItems": (20, truth)}
_PATH: Fields = {**_COMMON, "type": (5, text), "format": (6, text), "uniqueItems": (19, truth)}
_PARAMETER_FORMS: Mapping[str, tuple[int, Fields, int]] = {
    "header": (1, _HEADER, 22),
    "query": (3, _QUERY, 23),
    "path": (4, _PATH, 22),
}


def _schema_item(value: Mapping[str, Any]) -> bytes:
    return delimited(1, _schema(value))


_RESPONSE: Fields = {"description": (1, text), "schema": (2, one(_schema_item))}
_OPERATION: Fields = {
    "tags": (1, texts),
    "summary": (2, text),
    "description": (3, text),
    "operationId": (5, text),
    "produces": (6, texts),
    "consumes": (7, texts),
    "parameters": (8, many(_parameters_item)),
    "responses": (9, mapping(_response_value)),
    "schemes": (10, texts),
    "deprecated": (11, truth),
}
_PATH_ITEM: Fields = {
    "get": (2, one(_operation)),
    "put": (3, one(_operation)),
    "post": (4, one(_operation)),
    "delete": (5, one(_operation)),
    "options": (6, one(_operation)),
    "head": (7, one(_operation)),
    "patch": (8, one(_operation)),
    "parameters": (9, many(_parameters_item)),
}
_DOCUMENT: Fields = {
    "swagger": (1, text),
    "info": (2, one(lambda value: message(_INFO, value, extensions=7))),
    "host": (3, text),
    "basePath": (4, text),
    "schemes": (5, texts),
    "consumes": (6, texts),
    "produces": (7, texts),
    "paths": (8, mapping(_path_item, inner=2)),
    "definitions": (9, mapping(_schema)),
    "parameters": (10, mapping(_parameter)),
    "security": (12, many(_security_requirement)),
    "securityDefinitions": (13, mapping(_security_definition)),
}
