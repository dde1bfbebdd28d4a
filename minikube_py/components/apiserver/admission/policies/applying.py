"""Laying an apply configuration over an object: what MutatingAdmissionPolicies do with ``Object{...}``.

The merge is that of server-side apply, by the schema's list and map types, without managed fields. An
atomic list, map or struct cannot be part of it: naming one item would remove all the others unseen.
Follows ``policy/mutating/patch/smd.go``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minikube_py.machinery.applied_values import merged
from minikube_py.machinery.field_paths import DEDUCED, WHOLE, ownership
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import ANYTHING, Schema
from minikube_py.machinery.typed_errors import typed_errors


class CannotApply(Exception):
    """A change that does not fit the object; the text is Kubernetes'."""


def apply_configuration(schema: Schema, live: Object, applied: Any) -> Object:
    """The merged copy. Raises CannotApply."""
    if not isinstance(applied, dict):
        raise CannotApply(f"invalid return type: {type(applied).__name__}")
    patch = {**applied, "apiVersion": live.get("apiVersion"), "kind": live.get("kind")}
    problems = typed_errors(schema, patch)
    if problems:
        listed = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {text}" for text in problems)
        raise CannotApply(f"error applying patch: failed to convert patch object to typed object: {listed}")
    atomic = list(_atomics(schema, patch, ""))
    if atomic:
        raise CannotApply(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(atomic)
        )
    return merged(schema, live, patch)


def _atomics(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """The paths of lists, maps and structs in a configuration that are owned as a whole."""
    how = ownership(schema)
    if isinstance(value, dict):
        if how == WHOLE:
            yield path
        for key, item in value.items():
            if key in schema.properties:
                yield from _atomics(schema.properties[key], item, f"{path}.{key}")
    elif isinstance(value, list):
        if how in (WHOLE, DEDUCED):
            yield path
        for index, item in enumerate(value):
            yield from _atomics(schema.items or ANYTHING, item, f"{path}[{index}]")
