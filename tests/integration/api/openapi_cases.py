"""Requests made up from a published OpenAPI v3 document: mostly what the schemas allow, sometimes what they forbid.

Everything comes from one ``random.Random``, so a seed is a run. Left out is what would make the server speak to
someone else or change how it judges all further requests: connections to pods, services and nodes, webhooks,
admission policies, definitions of resources, watches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

_METHODS = ("get", "post", "put", "patch", "delete")
LEFT_OUT = ("/watch/", "/proxy", "/exec", "/attach", "/portforward", "/log", "webhookconfigurations", "/apiservices")
LEFT_OUT_GROUPS = ("apis/apiextensions.k8s.io", "apis/admissionregistration.k8s.io", "apis/apiregistration.k8s.io")
_STEPS = ("add", "remove", "replace", "test", "copy", "move")
_DEEPEST = 7
_TEXTS = (
    "",
    "a",
    "fuzz",
    "A B",
    "x" * 300,
    "ü\u2028",
    "-1",
    "1Gi",
    "10%",
    "2020-01-01T00:00:00Z",
    "true",
    "a=b",
    "*",
    "::1",
)
_NUMBERS = (0, 1, -1, 80, 2**31, -(2**31), 2**63 - 1, 1.5)
_ANYTHING: tuple[Any, ...] = (None, 0, "x", True, [], {}, [None], {"": None}, {"a": {"b": [1]}})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document; ``body`` is the schema of its JSON, None without one."""

    method: str
    path: str
    parameters: tuple[Mapping[str, Any], ...]
    body: Mapping[str, Any] | None
    patch_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A request; ``path`` has its query."""

    method: str
    path: str
    body: bytes = b""
    media_type: str = ""


def operations(group_version: str, document: Mapping[str, Any]) -> Iterator[Operation]:
    """What of a document is tried."""
    if group_version.startswith(LEFT_OUT_GROUPS):
        return
    for path, item in document["paths"].items():
        if any(part in path for part in LEFT_OUT):
            continue
        for method in _METHODS:
            if method not in item:
                continue
            content = item[method].get("requestBody", {}).get("content", {})
            schema = next((found.get("schema") for found in content.values()), None)
            shared = item.get("parameters", []) + item[method].get("parameters", [])
            patches = tuple(name for name in content if "patch" in name)
            yield Operation(method, path, tuple(shared), schema, patches)


class Maker:
    """Makes cases of one document's operations."""

    def __init__(self, document: Mapping[str, Any], random: Random) -> None:
        self._schemas = document.get("components", {}).get("schemas", {})
        self._random = random

    def case(self, operation: Operation) -> Case:
        random = self._random
        path, query = operation.path, []
        for parameter in operation.parameters:
            if parameter["in"] == "path":
                value = random.choice(("default", "fuzz", "fuzz", "Bad_Name", "a/b", "x" * 300))
                path = path.replace("{" + parameter["name"] + "}", quote(value, safe=""))
            elif parameter["in"] == "query" and random.random() < 0.2 and parameter["name"] != "watch":
                value = str(self.value(parameter.get("schema", {}), 0))
                query.append(f"{quote(parameter['name'])}={quote(value)}")
        if query:
            path = f"{path}?{'&'.join(query)}"
        if operation.method == "get" or operation.body is None:
            return Case(operation.method.upper(), path)
        if operation.method == "delete":
            return Case("DELETE", path, json.dumps(self.value(operation.body, 0)).encode(), "application/json")
        return self._written(operation, path)

    def _written(self, operation: Operation, path: str) -> Case:
        random = self._random
        made = self.value(self._object_schema(operation), 0)
        if isinstance(made, dict) and random.random() < 0.9:
            made.pop("kind", None)
            made.pop("apiVersion", None)
            meta = made.get("metadata")
            made["metadata"] = {**(meta if isinstance(meta, dict) else {}), "name": "fuzz"}
            if random.random() < 0.7:
                made["metadata"] = {"name": "fuzz"}
        if operation.method != "patch":
            return Case(operation.method.upper(), path, json.dumps(made).encode(), "application/json")
        media_type = random.choice(operation.patch_types or ("application/merge-patch+json",))
        if "json-patch" in media_type:
            steps = [
                {"op": random.choice(_STEPS), "path": self._pointer(), "from": self._pointer(), "value": made}
                for _ in range(random.randrange(3))
            ]
            return Case("PATCH", path, json.dumps(steps).encode(), media_type)
        return Case("PATCH", path, json.dumps(made).encode(), media_type)

    def _object_schema(self, operation: Operation) -> Mapping[str, Any]:
        """Patches have a schema without properties; the object's own is more telling."""
        if operation.method != "patch" or not self._schemas:
            return operation.body or {}
        return self._random.choice(list(self._schemas.values()))

    def _pointer(self) -> str:
        return self._random.choice(("", "/", "/metadata", "/metadata/labels/a", "/spec", "/spec/x/0/y", "/~2", "spec"))

    def value(self, schema: Mapping[str, Any], depth: int) -> Any:
        """A value of a schema; one in twelve is something else."""
        random = self._random
        while "$ref" in schema or "allOf" in schema:
            schema = (
                self._schemas.get(schema["$ref"].rpartition("/")[2], {}) if "$ref" in schema else schema["allOf"][0]
            )
        if random.random() < 1 / 12:
            return random.choice(_ANYTHING)
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return self._map(schema, depth)
        if kind == "array":
            if depth >= _DEEPEST:
                return []
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(random.randrange(3))]
        if kind == "integer" or kind == "number":
            return random.choice(_NUMBERS)
        if kind == "boolean":
            return random.random() < 0.5
        choices: Sequence[Any] = schema.get("enum") or (_TEXTS if kind == "string" else _ANYTHING)
        return random.choice(choices)

    def _map(self, schema: Mapping[str, Any], depth: int) -> Any:
        random, required = self._random, schema.get("required", ())
        if depth >= _DEEPEST:
            return {}
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            return {random.choice(_TEXTS): self.value(more, depth + 1) for _ in range(random.randrange(3))}
        return {
            name: self.value(inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if name in required or random.random() < 0.3
        }
