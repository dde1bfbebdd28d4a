"""What MutatingAdmissionPolicies add: messages ``Object{...}`` and ``JSONPatch{...}``, and ``jsonpatch``."""

from __future__ import annotations

from minikube_py.machinery.cel.overloads import Table, call
from minikube_py.machinery.cel.types import DYN, STRING, Field, Type, object_type

JSON_PATCH = object_type(
    "JSONPatch",
    {name: Field(name, DYN if name == "value" else STRING) for name in ("op", "path", "from", "value")},
)
MUTATION_OBJECT = object_type("Object", None)


def mutation_structs(name: str) -> Type | None:
    """The messages of mutations: ``JSONPatch``, ``Object`` and ``Object.<path>`` with any fields."""
    if name == JSON_PATCH.name:
        return JSON_PATCH
    if name == "Object":
        return MUTATION_OBJECT
    return object_type(name, None) if name.startswith("Object.") else None


def declare(table: Table) -> None:
    """Add the functions."""
    call(table, "jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", (STRING,), STRING, _escape)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
