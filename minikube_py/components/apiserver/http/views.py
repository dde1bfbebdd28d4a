"""Other representations of objects: Table, PartialObjectMetadata, YAML, protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from minikube_py.components.apiserver.http.negotiation import JSON, PROTOBUF, YAML, Form
from minikube_py.machinery.errors import not_acceptable
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.printing import CREATED_AT, NAME, column_description
from minikube_py.machinery.objects import Object

META_GROUP = "meta.k8s.io"
WRITTEN_AT_ONCE = 8 * 1024
"""YAML and protobuf of objects up to this size (as JSON) are written on the event loop, larger ones in a thread."""
JSON_AT_ONCE = 128 * 1024
"""The same for JSON, which is written faster by far."""


async def encode_sized(obj: Mapping[str, Any], form: Form, size: int) -> bytes:
    """``encode`` of an object of about ``size`` bytes of JSON, beside the event loop where that takes long."""
    if size > (JSON_AT_ONCE if form.media_type == JSON else WRITTEN_AT_ONCE):
        return await asyncio.to_thread(encode, obj, form)
    return encode(obj, form)


def encode(obj: Mapping[str, Any], form: Form) -> bytes:
    """An object's bytes in the negotiated media type."""
    if form.media_type == YAML:
        from minikube_py.machinery.yaml_text import to_yaml

        return to_yaml(dict(obj))
    if form.media_type == PROTOBUF:
        from minikube_py.machinery.protobuf import encode as encode_protobuf

        return encode_protobuf(dict(obj))
    if form.pretty:
        return orjson.dumps(obj, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return orjson.dumps(obj, option=orjson.OPT_APPEND_NEWLINE)


def partial(kind: Kind, obj: Object, version: str = "v1", *, typed: bool = True) -> Object:
    """PartialObjectMetadata of an object."""
    head: Object = {"kind": "PartialObjectMetadata", "apiVersion": f"{META_GROUP}/{version}"} if typed else {}
    hidden = kind.extra.get("spec_annotation")
    return {**head, "metadata": _without_annotation(obj["metadata"], hidden) if hidden else obj["metadata"]}


def _without_annotation(meta: Object, name: str) -> Object:
    """A copy of the metadata without one annotation, which is a field of the spec in disguise."""
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != name}
    bare = {key: value for key, value in meta.items() if key != "annotations"}
    return {**bare, "annotations": annotations} if annotations else bare


def partial_list(kind: Kind, objects: Sequence[Object], meta: Object, version: str = "v1") -> Object:
    items = [partial(kind, obj, version) for obj in objects]
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": meta,
        "items": items or None,
    }


def table(
    kind: Kind,
    objects: Sequence[Object],
    meta: Object,
    now: float,
    *,
    version: str = "v1",
    include: str = "Metadata",
    headers: bool = True,
) -> Object:
    """A Table; ``include`` says what a row carries of its object: None, Metadata or Object."""
    columns = [dict(column) for column in _columns(kind)] if headers else None
    order = kind.extra.get("table_order")
    ordered = objects if order is None else sorted(objects, key=order)
    rows = [_row(kind, obj, now, version, include) for obj in ordered]
    return {
        "kind": "Table",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": meta,
        "columnDefinitions": columns,
        "rows": rows,
    }


_cached_columns: dict[int, tuple[Kind, tuple[Object, ...]]] = {}


def _columns(kind: Kind) -> tuple[Object, ...]:
    """The column definitions of a kind, built once for each declaration."""
    found = _cached_columns.get(id(kind))
    if found is None or found[0] is not kind:
        found = (kind, _definitions(kind))
        _cached_columns[id(kind)] = found
    return found[1]


def _definitions(kind: Kind) -> tuple[Object, ...]:
    return tuple(
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column_description(column),
            "priority": column.priority,
        }
        for column in kind.columns or (NAME, CREATED_AT)
    )


def _row(kind: Kind, obj: Object, now: float, version: str, include: str) -> Object:
    meta = obj["metadata"]
    cells = list(kind.row(obj, now)) if kind.row else [meta.get("name"), meta.get("creationTimestamp")]
    row: Object = {"cells": cells}
    conditions = kind.extra.get("row_conditions")
    if conditions is not None:
        found = conditions(obj)
        if found:
            row["conditions"] = found
    if include == "Object":
        row["object"] = obj
    elif include == "None":
        row["object"] = None
    else:
        row["object"] = partial(kind, obj, version)
    return row


def check_view(form: Form, kind: Kind, *, is_list: bool) -> None:
    """ApiError 406 when a list is asked for as one object's metadata or the other way round."""
    internal = (kind.resource.group or "core").partition(".")[0]
    if is_list and form.view == "PartialObjectMetadata":
        raise not_acceptable(
            "you requested PartialObjectMetadata, but the requested object is a list "
            f"(*{internal}.{kind.resource.kind}List)"
        )
    if not is_list and form.view == "PartialObjectMetadataList":
        raise not_acceptable(
            f"you requested PartialObjectMetadataList, but the requested object is not a list "
            f"(*{internal}.{kind.resource.kind})"
        )


def content_type(form: Form) -> str:
    return JSON if form.media_type == JSON else form.media_type
