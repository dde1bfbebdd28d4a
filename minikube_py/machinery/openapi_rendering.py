"""Paths of OpenAPI documents: operations in the form of version 2 or 3.

In: operations (``openapi_paths``, ``openapi_roots``). Out: the ``paths`` of a document; for version 2 also its shared
``parameters``. Parameters that all operations of a path have stand at the path, as kube-openapi's builders put
them; version 2 refers to nearly all of them by names that are hashes, as its ``parameters.go`` does.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from minikube_py.machinery.objects import Object
from minikube_py.machinery.openapi_parameters import PATH, Parameter
from minikube_py.machinery.openapi_paths import Operation

V2, V3 = "#/definitions/", "#/components/schemas/"
_TEXTS = {"200": "OK", "201": "Created", "202": "Accepted"}
_UNAUTHORIZED = {"401": {"description": "Unauthorized"}}
_GENERIC = "io.k8s.apimachinery"
_UNSHARED = frozenset({"dryRun", "fieldValidation"})
"""kubectl up to 1.27 looks for these at the operations."""
_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Version2:
    """``paths`` and ``parameters`` of a document of version 2."""

    paths: Object
    parameters: Object


def paths_in_version_3(ops: Iterable[Operation]) -> Object:
    """The ``paths`` of a document of version 3."""
    return _paths(ops, _parameter_in_version_3, _operation_in_version_3)


def in_version_2(ops: Iterable[Operation]) -> Version2:
    """The ``paths`` of a document of version 2 and the parameters that they refer to."""
    shared = _Shared({})

    def parameter(item: Parameter) -> Object:
        found = _parameter_in_version_2(item)
        return shared.reference(found) if item.name != "name" and item.name not in _UNSHARED else found

    def operation(op: Operation, own: list[Object]) -> Object:
        return _operation_in_version_2(op, own, shared)

    paths = _paths(ops, parameter, operation)
    found = ((label, orjson.loads(text)) for text, label in shared.labels.items())
    return Version2(paths, dict(sorted(found)))


def _paths(
    ops: Iterable[Operation],
    parameter: Callable[[Parameter], Object],
    render: Callable[[Operation, list[Object]], Object],
) -> Object:
    by_path: dict[str, list[Operation]] = {}
    for op in ops:
        by_path.setdefault(op.path, []).append(op)
    paths: Object = {}
    for path, found in sorted(by_path.items()):
        common = [item for item in found[0].parameters if all(item in op.parameters for op in found[1:])]
        entry: Object = {
            op.method: render(op, [parameter(item) for item in op.parameters if item not in common]) for op in found
        }
        if common:
            entry["parameters"] = [parameter(item) for item in common]
        paths[path] = entry
    return paths


def _described(op: Operation) -> Object:
    found: Object = {"description": op.description, "operationId": op.operation_id, "tags": [op.tag]}
    if op.kind is not None:
        kind = op.kind
        found["x-kubernetes-action"] = op.action
        found["x-kubernetes-group-version-kind"] = {
            "group": kind.group, "kind": kind.kind, "version": kind.version,
        }  # fmt: skip
    return found


def _operation_in_version_3(op: Operation, own: list[Object]) -> Object:
    rendered = _described(op)
    if own:
        rendered["parameters"] = own
    if op.body:
        schema = {"schema": {"$ref": V3 + op.body}}
        rendered["requestBody"] = {"content": dict.fromkeys(op.consumes, schema)}
        if op.needs_body:
            rendered["requestBody"]["required"] = True
    answer: Object = {"schema": {"$ref": V3 + op.result} if op.result else {"type": "string"}}
    content = dict.fromkeys(op.produces, answer)
    rendered["responses"] = {code: {"description": _TEXTS[code], "content": content} for code in op.codes}
    rendered["responses"] |= _UNAUTHORIZED
    return rendered


def _operation_in_version_2(op: Operation, own: list[Object], shared: _Shared) -> Object:
    rendered = _described(op)
    if op.consumes:
        rendered["consumes"] = list(op.consumes)
    rendered["produces"] = list(op.produces)
    rendered["schemes"] = ["https"]
    if op.body:
        body: Object = {"name": "body", "in": "body"}
        if op.needs_body:
            body["required"] = True
        body["schema"] = {"$ref": V2 + op.body}
        own = [shared.reference(body) if op.body.startswith(_GENERIC) else body, *own]
    if own:
        rendered["parameters"] = own
    schema: Object = {"$ref": V2 + op.result} if op.result else {"type": "string"}
    rendered["responses"] = {code: {"description": _TEXTS[code], "schema": schema} for code in op.codes}
    rendered["responses"] |= _UNAUTHORIZED
    return rendered


def _parameter_in_version_3(item: Parameter) -> Object:
    found: Object = {"description": item.description, "in": item.place, "name": item.name}
    if item.place == PATH:
        found["required"] = True
    return {**found, "schema": {"type": item.type, "uniqueItems": True}}


def _parameter_in_version_2(item: Parameter) -> Object:
    """In the order of the reference's structures: the names of shared parameters are hashes of this text."""
    found: Object = {
        "uniqueItems": True, "type": item.type, "description": item.description, "name": item.name, "in": item.place,
    }  # fmt: skip
    return {**found, "required": True} if item.place == PATH else found


@dataclass(frozen=True, slots=True)
class _Shared:
    """The labels of parameters that are referred to, by their text."""

    labels: dict[bytes, str]

    def reference(self, parameter: Object) -> Object:
        """A reference to the parameter, which is noted."""
        text = orjson.dumps(parameter)
        label = self.labels.get(text)
        if label is None:
            label = self.labels[text] = f"{parameter['name']}-{_short_hash(text)}"
        return {"$ref": f"#/parameters/{label}"}


def _short_hash(text: bytes) -> str:
    """Eight characters: the first six bytes of the FNV-1 hash."""
    found = _FNV_OFFSET
    for byte in text:
        found = (found * _FNV_PRIME & _64_BITS) ^ byte
    return base64.urlsafe_b64encode(found.to_bytes(8, "big")[:6]).decode()
