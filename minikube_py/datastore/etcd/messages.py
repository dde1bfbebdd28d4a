"""etcd's protobuf messages, made at import from the table in ``messages.txt``.

They live in a descriptor pool of their own, so that a program which also has etcd's generated
modules loaded gets no conflict. ``message("RangeRequest")`` is the class.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
}
_PACKAGES = ("mvccpb", "etcdserverpb")  # in the order in which they need each other


def _pool(table: str) -> descriptor_pool.DescriptorPool:
    entries = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    entries.sort(key=lambda entry: entry[0] == "enum")  # a nested enum comes after its message
    kinds = {name: kind for kind, name, *_ in entries}
    pool = descriptor_pool.DescriptorPool()
    for package in _PACKAGES:
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        file.dependency.extend(f"{other}.proto" for other in _PACKAGES[: _PACKAGES.index(package)])
        messages: dict[str, Any] = {}
        for kind, name, *parts in entries:
            if not name.startswith(f"{package}."):
                continue
            owner, _, own = name.removeprefix(f"{package}.").rpartition(".")
            if kind == "message":
                messages[own] = file.message_type.add(name=own)
                _add_fields(messages[own], package, parts, kinds)
            else:
                _add_values(messages[owner] if owner else file, own, parts)
        pool.Add(file)
    return pool


def _add_values(owner: Any, name: str, parts: list[str]) -> None:
    enum = owner.enum_type.add(name=name)
    for part in parts:
        value, _, number = part.partition("=")
        enum.value.add(name=value, number=int(number))


def _add_fields(message: Any, package: str, parts: list[str], kinds: dict[str, str]) -> None:
    for part in parts:
        name, _, rest = part.partition("=")
        place, _, type_name = rest.partition(":")
        number, _, union = place.partition("?")
        field = message.field.add(name=name, number=int(number.rstrip("*")))
        field.label = field.LABEL_REPEATED if number.endswith("*") else field.LABEL_OPTIONAL
        if union:
            if not message.oneof_decl:
                message.oneof_decl.add(name=union)
            field.oneof_index = 0
        if type_name in _SCALARS:
            field.type = _SCALARS[type_name]
            continue
        full = _resolve(type_name, f"{package}.{message.name}", package, kinds)
        field.type = field.TYPE_ENUM if kinds[full] == "enum" else field.TYPE_MESSAGE
        field.type_name = f".{full}"


def _resolve(type_name: str, message: str, package: str, kinds: dict[str, str]) -> str:
    for candidate in (f"{message}.{type_name}", f"{package}.{type_name}", type_name):
        if candidate in kinds:
            return candidate
    raise ValueError(f"messages.txt: {message} uses the unknown type {type_name}")


_descriptors = _pool(files(__package__).joinpath("messages.txt").read_text(encoding="utf-8"))


@cache
def message(name: str) -> Any:
    """The class of a message: ``KeyValue`` and ``Event`` are mvccpb's, all others etcdserverpb's."""
    package = "mvccpb" if name in ("KeyValue", "Event") else "etcdserverpb"
    return message_factory.GetMessageClass(_descriptors.FindMessageTypeByName(f"{package}.{name}"))
