"""The protobuf form of an OpenAPI v3 document.

In: the document as JSON data (``openapi.openapi_v3``). Out: the bytes of gnostic's message ``openapi.v3.Document``.
Field numbers are facts of ``OpenAPIv3.proto``; each table names the JSON keys of one message (see
``openapi_protobuf_fields``). As in the reference, a default that is no scalar is an empty message: that schema of
defaults has no other word for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.objects import Object
from minikube_py.machinery.openapi_protobuf_fields import (
    Encoder,
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

_DEFAULT_NUMBER, _DEFAULT_BOOLEAN, _DEFAULT_STRING = 1, 2, 3


def openapi_v3_protobuf(document: Object) -> bytes:
    """The document's bytes. Takes up to a tenth of a second: call it in a thread."""
    return message(_DOCUMENT, document, extensions=9)


def _or_reference(encode: Callable[[Mapping[str, Any]], bytes]) -> Callable[[Mapping[str, Any]], bytes]:
    """A message that holds a thing (1) or a reference to one (2)."""

    def either(value: Mapping[str, Any]) -> bytes:
        return delimited(2, text(1, value["$ref"])) if "$ref" in value else delimited(1, encode(value))

    return either


def _table(fields: Callable[[], Fields], extensions: int) -> Callable[[Mapping[str, Any]], bytes]:
    """An encoder by a table that is looked up when it is used: messages hold one another."""
    return lambda value: message(fields(), value, extensions=extensions)


_schema = _table(lambda: _SCHEMA, 36)
_schema_or_reference = _or_reference(_schema)


def _items(value: Mapping[str, Any]) -> bytes:
    return delimited(1, _schema_or_reference(value))


def _additional(value: Mapping[str, Any] | bool) -> bytes:
    return truth(2, value) if isinstance(value, bool) else delimited(1, _schema_or_reference(value))


def _default(value: Any) -> bytes:
    if isinstance(value, bool):
        return truth(_DEFAULT_BOOLEAN, value)
    if isinstance(value, int | float):
        return double(_DEFAULT_NUMBER, value)
    return text(_DEFAULT_STRING, value) if isinstance(value, str) else b""


def _requirement(value: Mapping[str, list[str]]) -> bytes:
    return b"".join(delimited(1, named(name, texts(1, scopes))) for name, scopes in value.items())


def _responses(number: int, value: Mapping[str, Any]) -> bytes:
    """The answer to any other code is a field of its own."""
    encode = _or_reference(_response)
    parts = [
        delimited(1, encode(item)) if code == "default" else delimited(2, named(code, encode(item)))
        for code, item in value.items()
        if not code.startswith("x-")
    ]
    return delimited(number, b"".join(parts))


_media_type = _table(lambda: _MEDIA_TYPE, 5)
_response = _table(lambda: _RESPONSE, 5)
_request_body = _table(lambda: _REQUEST_BODY, 4)
_parameter = _table(lambda: _PARAMETER, 14)
_operation = _table(lambda: _OPERATION, 13)
_path_item = _table(lambda: _PATH_ITEM, 14)
_security_scheme = _table(lambda: _SECURITY_SCHEME, 9)

_SCHEMA: Fields = {
    "nullable": (1, truth),
    "readOnly": (3, truth),
    "writeOnly": (4, truth),
    "example": (7, free),
    "deprecated": (8, truth),
    "title": (9, text),
    "multipleOf": (10, double),
    "maximum": (11, double),
    "exclusiveMaximum": (12, truth),
    "minimum": (13, double),
    "exclusiveMinimum": (14, truth),
    "maxLength": (15, integer),
    "minLength": (16, integer),
    "pattern": (17, text),
    "maxItems": (18, integer),
    "minItems": (19, integer),
    "uniqueItems": (20, truth),
    "maxProperties": (21, integer),
    "minProperties": (22, integer),
    "required": (23, texts),
    "enum": (24, frees),
    "type": (25, text),
    "allOf": (26, many(_schema_or_reference)),
    "oneOf": (27, many(_schema_or_reference)),
    "anyOf": (28, many(_schema_or_reference)),
    "not": (29, one(_schema)),
    "items": (30, one(_items)),
    "properties": (31, mapping(_schema_or_reference)),
    "additionalProperties": (32, one(_additional)),
    "default": (33, one(_default)),
    "description": (34, text),
    "format": (35, text),
}
_CONTENT: Encoder = mapping(_media_type)
_MEDIA_TYPE: Fields = {"schema": (1, one(_schema_or_reference)), "example": (2, free)}
_RESPONSE: Fields = {"description": (1, text), "content": (3, _CONTENT)}
_REQUEST_BODY: Fields = {"description": (1, text), "content": (2, _CONTENT), "required": (3, truth)}
_PARAMETER: Fields = {
    "name": (1, text),
    "in": (2, text),
    "description": (3, text),
    "required": (4, truth),
    "deprecated": (5, truth),
    "allowEmptyValue": (6, truth),
    "style": (7, text),
    "explode": (8, truth),
    "allowReserved": (9, truth),
    "schema": (10, one(_schema_or_reference)),
    "example": (11, free),
    "content": (13, _CONTENT),
}
_PARAMETERS: Encoder = many(_or_reference(_parameter))
_OPERATION: Fields = {
    "tags": (1, texts),
    "summary": (2, text),
    "description": (3, text),
    "operationId": (5, text),
    "parameters": (6, _PARAMETERS),
    "requestBody": (7, one(_or_reference(_request_body))),
    "responses": (8, _responses),
    "deprecated": (10, truth),
    "security": (11, many(_requirement)),
}
_PATH_ITEM: Fields = {
    "$ref": (1, text),
    "summary": (2, text),
    "description": (3, text),
    "get": (4, one(_operation)),
    "put": (5, one(_operation)),
    "post": (6, one(_operation)),
    "delete": (7, one(_operation)),
    "options": (8, one(_operation)),
    "head": (9, one(_operation)),
    "patch": (10, one(_operation)),
    "trace": (11, one(_operation)),
    "parameters": (13, _PARAMETERS),
}
_SECURITY_SCHEME: Fields = {
    "type": (1, text),
    "description": (2, text),
    "name": (3, text),
    "in": (4, text),
    "scheme": (5, text),
    "bearerFormat": (6, text),
    "openIdConnectUrl": (8, text),
}
_INFO: Fields = {"title": (1, text), "description": (2, text), "termsOfService": (3, text), "version": (6, text)}
_COMPONENTS: Fields = {
    "schemas": (1, mapping(_schema_or_reference)),
    "responses": (2, mapping(_or_reference(_response))),
    "parameters": (3, mapping(_or_reference(_parameter))),
    "requestBodies": (5, mapping(_or_reference(_request_body))),
    "securitySchemes": (7, mapping(_or_reference(_security_scheme))),
}
_DOCUMENT: Fields = {
    "openapi": (1, text),
    "info": (2, one(_table(lambda: _INFO, 7))),
    "paths": (4, mapping(_path_item)),
    "components": (5, one(_table(lambda: _COMPONENTS, 10))),
    "security": (6, many(_requirement)),
}
