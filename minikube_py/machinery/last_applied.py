"""kubectl's ``last-applied-configuration`` annotation, as server-side apply sees it.

Objects that kubectl has applied on the client's side carry what was applied as an annotation. When kubectl, under its
own name, goes on with server-side apply, what that configuration owns of the object is no conflict
(``lastAppliedManager``), and the annotation is kept up to date for those who go back (``lastAppliedUpdater``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from minikube_py.machinery.field_paths import compare, field_set
from minikube_py.machinery.field_sets import FieldSet, difference
from minikube_py.machinery.objects import Object, metadata
from minikube_py.machinery.schema import Schema
from minikube_py.machinery.typed_errors import typed_errors

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_MOST_BYTES = 256 * 1024
"""Of all annotations of an object together; beyond that this one is left out."""
_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def fields_in_agreement(schema: Schema, live: Mapping[str, Any], api_version: str) -> FieldSet:
    """What the annotation's configuration sets and the object still has; nothing when it cannot be read."""
    text = (metadata(live).get("annotations") or {}).get(ANNOTATION)
    try:
        applied = orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(applied, dict) or applied.get("apiVersion") != api_version or typed_errors(schema, applied):
        return {}
    taken, gone = compare(schema, applied, live)
    return difference(difference(field_set(schema, applied) or {}, taken or {}), gone or {})


def update_annotation(draft: Object, applied: Mapping[str, Any]) -> None:
    """Write what was applied into the annotation of a private draft that has one."""
    annotations = metadata(draft).get("annotations") or {}
    if not annotations.get(ANNOTATION):
        return
    changed = {**annotations, ANNOTATION: _text(applied)}
    if sum(len(key.encode()) + len(value.encode()) for key, value in changed.items()) > _MOST_BYTES:
        del changed[ANNOTATION]
    draft["metadata"]["annotations"] = changed


def _text(applied: Mapping[str, Any]) -> str:
    """The configuration without the annotation itself, as Go writes JSON: keys sorted, HTML's characters escaped."""
    meta = metadata(applied)
    annotations = meta.get("annotations")
    if annotations is not None:
        kept = {key: value for key, value in annotations.items() if key != ANNOTATION}
        applied = {**applied, "metadata": {**meta, "annotations": kept}}
    text = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    return text.translate(_HTML)
