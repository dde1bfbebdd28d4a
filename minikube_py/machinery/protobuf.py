"""The codec for ``application/vnd.kubernetes.protobuf``, driven by tables of field numbers.

In and out: plain objects, and bytes as Kubernetes' generated Go code reads and writes them: the four bytes
``k8s\\0``, then a ``runtime.Unknown`` with the type and the object's message. Types of fields come from
the OpenAPI definitions, numbers from ``protobuf_fields.txt`` (``load``). A message is compiled when it is first used.

What is not given is not written. Reading gives every field that the bytes carry, zero values included (Go
writes all fields that are no pointers); the kind's defaulting drops those that JSON does not write. Custom
resources have no protobuf form.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from minikube_py.machinery import protobuf_values as values
from minikube_py.machinery.errors import ApiError, bad_request, go_quote
from minikube_py.machinery.objects import Object
from minikube_py.machinery.protobuf_values import Decode, Encode
from minikube_py.machinery.schema import (
    ANYTHING,
    FIELDS_V1,
    INT_OR_STRING,
    MICRO_TIME,
    OBJECT_META,
    QUANTITY,
    RAW_EXTENSION,
    TIME,
    Schema,
    definitions,
)  # fmt: skip
from minikube_py.machinery.wire import (
    FIXED64,
    LENGTH,
    VARINT,
    WireError,
    delimited,
    fields,
    read_varint,
    signed,
    tag,
    varint,
)  # fmt: skip

MAGIC = b"k8s\x00"
SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_TABLE = Path(__file__).with_name("protobuf_fields.txt")
_WORD = re.compile(r"([^=>~]+)(~)?(?:>(\w+))?(?:=(\d+))?")
_JSON = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
_PROPS = _JSON + "SchemaProps"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


class _Field:
    """How one field is written and read; ``shape`` is "one", "many", "map" or "inline"."""

    __slots__ = ("decode", "encode", "message", "name", "number", "shape", "wire_type")

    def __init__(self, name: str, number: int, shape: str, wire_type: int, encode: Encode, decode: Decode) -> None:
        self.name, self.number, self.shape, self.wire_type = name, number, shape, wire_type
        self.encode, self.decode = encode, decode
        self.message: _Message | None = None


class _Message:
    """The fields of a message in the order of their numbers."""

    __slots__ = ("by_number", "fields", "names")

    def __init__(self) -> None:
        self.fields: list[_Field] = []
        self.by_number: dict[int, _Field] = {}
        self.names: frozenset[str] = frozenset()

    def add(self, field: _Field) -> None:
        self.fields.append(field)
        self.by_number[field.number] = field


@cache
def _numbers() -> dict[str, list[tuple[str, int, str, bool]]]:
    """(name, number, inlined message, wrapped list) of each field, by definition."""
    table: dict[str, list[tuple[str, int, str, bool]]] = {}
    package = ""
    for line in _TABLE.read_text().splitlines():
        if line.startswith("["):
            package = line[1:-1]
            continue
        short, *words = line.split()
        found: list[tuple[str, int, str, bool]] = []
        number = 0
        for word in words:
            matched = _WORD.fullmatch(word)
            if matched is None:
                raise ValueError(f"{_TABLE}: unreadable field {word!r} of {short}")
            number = int(matched[4]) if matched[4] else number + 1
            found.append((matched[1], number, matched[3] or "", bool(matched[2])))
        table[f"{package}.{short}"] = found
    return table


def load() -> None:
    """Read the table of numbers, which is otherwise done by the first message. Blocks: call it in a thread."""
    _numbers()


def has_protobuf(schema: Schema) -> bool:
    """Whether objects of this schema have a protobuf form."""
    return schema.name in _numbers()


def encode(obj: Mapping[str, Any], schema: Schema | None = None) -> bytes:
    """The complete body for an object or list; ApiError 406 when its kind has no protobuf form.

    ``schema`` saves looking the kind up.
    """
    api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    return envelope(api_version, kind, encode_message(schema or _schema_of(api_version, kind), obj))


def _schema_of(api_version: str, kind: str) -> Schema:
    if kind == "PartialObjectMetadata":
        return partial_metadata_schema()
    if kind == "PartialObjectMetadataList":
        return partial_metadata_list_schema()
    name = definitions().definition_of(api_version or "v1", kind)  # discovery of the core group has no version
    if name is None:
        sort = "UnstructuredList" if kind.endswith("List") else "Unstructured"
        raise ApiError(
            406,
            "NotAcceptable",
            f"object *unstructured.{sort} does not implement the protobuf marshalling interface and cannot be encoded "
            "to a protobuf message",
        )
    return definitions().schema(name)


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """Magic number and ``runtime.Unknown`` around a message."""
    meta = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return MAGIC + delimited(1, meta) + delimited(2, message) + delimited(3, b"") + delimited(4, b"")


def encode_message(schema: Schema, obj: Mapping[str, Any]) -> bytes:
    """The message alone, without its type (an item of a list, for instance)."""
    return _encode_message(_message(schema), obj)


def encode_watch_event(type: str, obj: Mapping[str, Any]) -> bytes:
    """One frame of a protobuf watch stream: four bytes of length, then a bare ``WatchEvent``."""
    event = delimited(1, type.encode()) + delimited(2, delimited(1, encode(obj)))
    return struct.pack(">I", len(event)) + event


def type_of(data: bytes) -> tuple[str, str]:
    """(apiVersion, kind) of a body; ApiError 400 when it is no Kubernetes protobuf."""
    api_version, kind, _ = _open(data)
    return api_version, kind


def decode(data: bytes, schema: Schema | None = None) -> Object:
    """The object of a body; ApiError 400 with the reference's text when it cannot be read.

    A kind that has no definition is 400 as well. ``schema`` saves looking the kind up.
    """
    api_version, kind, message = _open(data)
    if schema is None:
        try:
            schema = _schema_of(api_version, kind)
        except ApiError as error:
            known = f"no kind {go_quote(kind)} is registered for version {go_quote(api_version)}"
            raise bad_request(f"{known} in scheme {go_quote(SCHEME)}") from error
    try:
        body = _decode_message(_message(schema), message)
    except (WireError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise bad_request(str(error)) from error
    return {"apiVersion": api_version, "kind": kind, **body}


def wrapped_type(data: bytes) -> tuple[str, str]:
    """What a body says it is: (apiVersion, kind), each empty where it does not say. ApiError 400 when it is no body."""
    return _open(data)[:2]


def _open(data: bytes) -> tuple[str, str, bytes]:
    if not data.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    if len(data) == len(MAGIC):
        raise bad_request("empty body")
    api_version = kind = ""
    message = b""
    try:
        for number, _, value in fields(data[len(MAGIC) :]):
            if number == 1 and isinstance(value, bytes):
                for inner, _, text in fields(value):
                    if isinstance(text, bytes):
                        api_version, kind = (text.decode(), kind) if inner == 1 else (api_version, text.decode())
            elif number == 2 and isinstance(value, bytes):
                message = value
    except (WireError, UnicodeDecodeError) as error:
        raise bad_request(str(error)) from error
    return api_version, kind, message


# Encoding and decoding of compiled messages.


def _encode_message(message: _Message, obj: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for field in message.fields:
        if field.shape == "inline":
            inner = field.message
            if inner is not None and any(name in obj for name in inner.names):
                parts.append(delimited(field.number, _encode_message(inner, obj)))
            continue
        value = obj.get(field.name)
        if value is None:
            continue
        if field.shape == "one":
            parts.append(_encode_one(field, value))
        elif field.shape == "many":
            parts += [_encode_one(field, item) for item in value]
        else:
            parts += [
                delimited(field.number, delimited(1, key.encode()) + _map_value(field, value[key]))
                for key in sorted(value)
            ]
    return b"".join(parts)


def _encode_one(field: _Field, value: Any) -> bytes:
    data = field.encode(value)
    if field.wire_type == LENGTH:
        return tag(field.number, LENGTH) + varint(len(data)) + data
    return tag(field.number, field.wire_type) + data


def _map_value(field: _Field, value: Any) -> bytes:
    data = field.encode(value)
    return delimited(2, data) if field.wire_type == LENGTH else tag(2, field.wire_type) + data


def _decode_message(message: _Message, data: bytes) -> Object:
    result: Object = {}
    for number, wire_type, value in fields(data):
        field = message.by_number.get(number)
        if field is None:
            continue
        if field.shape == "inline" and field.message is not None and isinstance(value, bytes):
            result.update(_decode_message(field.message, value))
        elif field.shape == "one":
            read = field.decode(value)
            if read is not None:  # the zero time
                result[field.name] = read
        elif field.shape == "map" and isinstance(value, bytes):
            key, item = _entry(field, value)
            result.setdefault(field.name, {})[key] = item
        elif field.wire_type == VARINT and wire_type == LENGTH and isinstance(value, bytes):
            result.setdefault(field.name, []).extend(map(field.decode, _packed(value)))
        else:
            result.setdefault(field.name, []).append(field.decode(value))
    return result


def _entry(field: _Field, data: bytes) -> tuple[str, Any]:
    key, value = "", None
    for number, _, raw in fields(data):
        if number == 1 and isinstance(raw, bytes):
            key = raw.decode()
        elif number == 2:
            value = field.decode(raw)
    return key, field.decode(b"" if field.wire_type == LENGTH else 0) if value is None else value


def _packed(data: bytes) -> list[int]:
    numbers: list[int] = []
    position = 0
    while position < len(data):
        number, position = read_varint(data, position)
        numbers.append(number)
    return numbers


# Compiling.


def _message(schema: Schema) -> _Message:
    """The compiled message of a definition."""
    found: _Message | None = schema.cache.get("protobuf")
    if found is None:
        numbers = _numbers().get(schema.name)
        if numbers is None:
            raise ApiError(406, "NotAcceptable", f"{schema.name or 'the object'} has no protobuf form")
        found = schema.cache["protobuf"] = _Message()  # registered first: definitions may refer to themselves
        _fill(found, schema, numbers)
    return found


def _fill(message: _Message, schema: Schema, numbers: list[tuple[str, int, str, bool]]) -> None:
    for name, number, inlined, wrapped in numbers:
        if inlined:
            field = _Field(name, number, "inline", LENGTH, _never, _never)
            field.message = _Message()
            _fill(field.message, schema, _numbers()[f"{schema.name.rpartition('.')[0]}.{inlined}"])
        else:
            field = _field(name, number, schema.properties.get(name, ANYTHING), wrapped)
        message.add(field)
    names = {field.name for field in message.fields if field.shape != "inline"}
    for field in message.fields:
        if field.message is not None:
            names |= field.message.names
    message.names = frozenset(names)


def _never(value: Any) -> Any:
    raise AssertionError("an inlined message is handled by its parent")


def _field(name: str, number: int, schema: Schema, wrapped: bool) -> _Field:
    if schema.type == "array" and not wrapped:
        wire_type, write, read = _value(schema.items or ANYTHING)
        return _Field(name, number, "many", wire_type, write, read)
    if schema.additional is not None:
        inner = schema.additional
        wire_type, write, read = values.wrapped_list() if wrapped or inner.type == "array" else _value(inner)
        return _Field(name, number, "map", wire_type, write, read)
    wire_type, write, read = values.wrapped_list() if wrapped else _value(schema)
    return _Field(name, number, "one", wire_type, write, read)


def _value(schema: Schema) -> tuple[int, Encode, Decode]:
    """(wire type, writer, reader) of a single value."""
    special = _SPECIAL.get(schema.name)
    if special is not None:
        return LENGTH, *special
    if schema.name:
        return (
            LENGTH,
            lambda value: _encode_message(_message(schema), value),
            lambda data: _decode_message(_message(schema), data),
        )
    if schema.format == "byte":
        return LENGTH, values.bytes_out, values.bytes_in
    if schema.type == "integer":
        bits = 32 if schema.format == "int32" else 64
        return VARINT, varint, lambda number: signed(number, bits)
    if schema.type == "boolean":
        return VARINT, lambda value: b"\x01" if value else b"\x00", bool
    if schema.type == "number":
        return FIXED64, lambda value: struct.pack("<d", value), lambda data: struct.unpack("<d", data)[0]
    if schema.type == "string":
        return LENGTH, str.encode, bytes.decode
    return LENGTH, orjson.dumps, values.json_in


def _props_or(first: int, schema_number: int) -> tuple[Encode, Decode]:
    """``JSONSchemaPropsOrBool`` (allows, schema) and ``JSONSchemaPropsOrArray`` (schema, schemas)."""

    def write(value: Any) -> bytes:
        props = definitions().schema(_PROPS)
        if isinstance(value, bool):
            return tag(1, VARINT) + varint(value)
        allowed = tag(1, VARINT) + varint(1) if first == 1 else b""
        if isinstance(value, list):
            return b"".join(delimited(2, encode_message(props, item)) for item in value)
        return allowed + delimited(schema_number, encode_message(props, value))

    def read(data: bytes) -> Any:
        props = _message(definitions().schema(_PROPS))
        allowed, single, many = False, None, []
        for number, wire_type, value in fields(data):
            if wire_type == VARINT:
                allowed = bool(value)
            elif number == schema_number and isinstance(value, bytes):
                single = _decode_message(props, value)
            elif isinstance(value, bytes):
                many.append(_decode_message(props, value))
        if single is not None:
            return single
        return many if first == 0 else allowed

    return write, read


def _props_or_texts_out(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(delimited(2, item.encode()) for item in value)
    return delimited(1, encode_message(definitions().schema(_PROPS), value))


def _props_or_texts_in(data: bytes) -> Any:
    texts: list[str] = []
    for number, _, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            return _decode_message(_message(definitions().schema(_PROPS)), value)
        if isinstance(value, bytes):
            texts.append(value.decode())
    return texts


_SPECIAL: Mapping[str, tuple[Encode, Decode]] = {
    QUANTITY: (values.quantity_out, values.quantity_in),
    INT_OR_STRING: (values.int_or_string_out, values.int_or_string_in),
    TIME: (values.time_out, values.time_in),
    MICRO_TIME: (values.time_out, values.micro_time_in),
    FIELDS_V1: (values.raw_out, values.raw_in),
    RAW_EXTENSION: (values.raw_out, values.raw_in),
    _JSON: (values.raw_out, values.raw_in),
    _PROPS + "OrBool": _props_or(1, 2),
    _PROPS + "OrArray": _props_or(0, 1),
    _PROPS + "OrStringArray": (_props_or_texts_out, _props_or_texts_in),
}


@cache
def partial_metadata_schema() -> Schema:
    """``PartialObjectMetadata``, which has no definition of its own."""
    known = definitions()
    return Schema(
        {"type": "object", "properties": {"metadata": {"$ref": OBJECT_META}}},
        known.schema,
        name=_META + "PartialObjectMetadata",
    )


@cache
def partial_metadata_list_schema() -> Schema:
    """``PartialObjectMetadataList``, whose items carry no type of their own."""
    known = definitions()
    names = {_META + "PartialObjectMetadata": partial_metadata_schema()}
    properties = {
        "metadata": {"$ref": _META + "ListMeta"},
        "items": {"type": "array", "items": {"$ref": _META + "PartialObjectMetadata"}},
    }
    return Schema(
        {"type": "object", "properties": properties},
        lambda name: names.get(name) or known.schema(name),
        name=_META + "PartialObjectMetadataList",
    )
