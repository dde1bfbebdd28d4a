"""The fields of new objects' specs, remembered: objects that are made from one template own the same fields.

Going through a spec by its schema costs more than a digest of it. What is handed out is shared and never changed, as
all field sets are.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from minikube_py.machinery.field_paths import compare
from minikube_py.machinery.field_sets import FieldSet
from minikube_py.machinery.schema import Schema

_MOST_REMEMBERED = 256
_NOTHING: Mapping[str, Any] = {"metadata": {}}


class KnownFields:
    """See the module. Bounded; what was forgotten is found out once more. Threads may share it."""

    __slots__ = ("_specs",)

    def __init__(self) -> None:
        self._specs: dict[tuple[str, bytes], FieldSet | None] = {}

    def of_new(self, schema: Schema, obj: Mapping[str, Any]) -> FieldSet | None:
        """All fields of an object of which nothing was there before; None when it has none."""
        spec = obj.get("spec")
        if not schema.name or not isinstance(spec, dict):
            return compare(schema, _NOTHING, obj)[0]
        key = (schema.name, blake2b(orjson.dumps(spec), digest_size=16).digest())
        fields = self._specs.get(key)
        if fields is None:
            if len(self._specs) >= _MOST_REMEMBERED:
                self._specs.clear()
            fields = self._specs[key] = compare(schema, _NOTHING, {"metadata": {}, "spec": spec})[0]
        rest = compare(schema, _NOTHING, {name: value for name, value in obj.items() if name != "spec"})[0]
        if fields is None or rest is None:
            return fields or rest
        return {**fields, **rest}
