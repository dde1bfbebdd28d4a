"""Going through the schemas of a CustomResourceDefinition: JSON Schema as ``JSONSchemaProps`` holds it.

``items`` is a schema or a list of schemas, ``additionalProperties`` and ``additionalItems`` a schema or a
boolean, an entry of ``dependencies`` a schema or a list of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

_TOKEN = re.compile(r"'(?:\\'|[^'])*(?:'|$)|[.\[\]]|[^.\[\]]+")


def subschemas(schema: Json) -> Iterator[Json]:
    """A schema and all schemas inside it, in the order of Kubernetes' ``SchemaHas``."""
    yield schema
    for child in _children(schema):
        yield from subschemas(child)


def _children(schema: Json) -> Iterator[Json]:
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield items
    elif items:
        yield from items
    for name in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(name) or ()
    if schema.get("not") is not None:
        yield schema["not"]
    yield from (schema.get("properties") or {}).values()
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield schema["additionalProperties"]
    yield from (schema.get("patternProperties") or {}).values()
    if isinstance(schema.get("additionalItems"), Mapping):
        yield schema["additionalItems"]
    yield from (schema.get("definitions") or {}).values()
    yield from (value for value in (schema.get("dependencies") or {}).values() if isinstance(value, Mapping))


def field_at(schema: Json, path: str, *, array_notation: bool = True) -> tuple[tuple[str, ...], Json]:
    """The field that a simple JSON path names (``cel.ValidFieldPath``): its names and its schema.

    Raises ValueError with Kubernetes' text when the path is malformed or leads nowhere.
    """
    names: list[str] = []
    tokens = iter(_TOKEN.findall(path))
    for token in tokens:
        if token == "[":
            if not array_notation:
                raise ValueError("array notation is not allowed")
            name = _bracketed(tokens)
        elif token == ".":
            name = next(tokens, "")
            if not name:
                raise ValueError("unexpected end of JSON path")
        else:
            raise ValueError(f"expected [ or . but got: {token}")
        schema = _step(schema, name)
        names.append(name)
        if token == "[":
            closing = next(tokens, "")
            if closing != "]":
                raise ValueError(f"expected ] but got {closing}" if closing else "unexpected end of JSON path")
    return tuple(names), schema


def _bracketed(tokens: Iterator[str]) -> str:
    token = next(tokens, "")
    if not token:
        raise ValueError("unexpected end of JSON path")
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise ValueError(f"expected single quoted string but got {token}")
    return token[1:-1].replace("\\'", "'").replace("\\\\", "\\")


def _step(schema: Json, name: str) -> Json:
    properties = schema.get("properties")
    if properties:
        if name not in properties:
            raise ValueError("does not refer to a valid field")
        found: Json = properties[name]
        return found
    additional = schema.get("additionalProperties")
    if not isinstance(additional, Mapping):
        raise ValueError("does not refer to a valid field")
    return additional
