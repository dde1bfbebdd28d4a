"""OpenAPI documents, made from the declared kinds and the definitions.

``openapi_v2`` is the one document of ``/openapi/v2``; ``openapi_v3`` the document of one group version;
``openapi_v3_index`` lists those with a hash for clients' caches. Schemas of custom resources come from
``Kind.extra["openapi"]`` (their structural schema with type and metadata). Documents are built when asked
for and not kept: the caller caches the bytes it serves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.openapi_custom import in_version_2, in_version_3, list_schema
from minikube_py.machinery.openapi_paths import Operation, operations
from minikube_py.machinery.schema import INT_OR_STRING, QUANTITY, Definitions, definitions

VERSION = "v1.36.2"
JSON_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
PATCH_TYPES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
# Clients choose by these: kubectl apply sends the strategic form wherever a document offers it.
CUSTOM_JSON_TYPES = JSON_TYPES[:2]
CUSTOM_PATCH_TYPES = tuple(media for media in PATCH_TYPES if "strategic" not in media)
_V2, _V3 = "#/definitions/", "#/components/schemas/"
_BEARER = {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"}
_EXAMPLES: Mapping[str, Object] = {
    QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    INT_OR_STRING: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
}


def openapi_v3(kinds: Iterable[Kind], group: str, version: str) -> Object:
    """The document of one group version: its paths and every schema that they reach."""
    chosen = [kind for kind in kinds if kind.resource.group == group and kind.resource.version == version]
    known = definitions()
    ops = operations(chosen)
    schemas = _reachable(known, chosen, ops, _V3)
    known.release()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": _paths(ops, _operation_v3),
        "components": {"schemas": schemas, "securitySchemes": {"BearerToken": dict(_BEARER)}},
        "security": [{"BearerToken": []}],
    }


def openapi_v2(kinds: Iterable[Kind]) -> Object:
    """The document of all group versions in OpenAPI 2.0."""
    chosen = list(kinds)
    known = definitions()
    ops = operations(chosen)
    schemas = _reachable(known, chosen, ops, _V2)
    known.release()
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": _paths(ops, _operation_v2),
        "definitions": schemas,
        "parameters": {},
        "securityDefinitions": {"BearerToken": dict(_BEARER)},
        "security": [{"BearerToken": []}],
    }


def openapi_v3_index(kinds: Iterable[Kind]) -> Object:
    """``{"paths": {"apis/apps/v1": {"serverRelativeURL": ...}}}``; the hash changes when the kinds do."""
    chosen = list(kinds)
    versions = dict.fromkeys((kind.resource.group, kind.resource.version) for kind in chosen)
    paths: Object = {}
    for group, version in versions:
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={document_hash(chosen, group, version)}"}
    return {"paths": dict(sorted(paths.items()))}


def document_hash(kinds: Sequence[Kind], group: str, version: str) -> str:
    """A hash of what the document of a group version is made from (not of the document: that would build it)."""
    parts: list[Any] = [VERSION, definitions().digest]
    for kind in kinds:
        if (kind.resource.group, kind.resource.version) == (group, version):
            subresources = [[sub.name, list(sub.verbs)] for sub in kind.subresources]
            parts.append([kind.resource.plural, kind.definition, list(kind.verbs), subresources])
            parts.append(kind.extra.get("openapi"))
    return hashlib.sha512(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest().upper()


def _reachable(known: Definitions, kinds: Iterable[Kind], ops: Iterable[Operation], prefix: str) -> Object:
    """Published schemas of the kinds and of all that they refer to, by name."""
    custom, lists = _custom(kinds, prefix)
    waiting = {name for op in ops for name in (op.body, op.result) if name}
    result: Object = {}
    while waiting:
        name = waiting.pop()
        if name in custom:
            raw: Object = dict(custom[name])
        elif name in known:
            raw = known.published(name)
        elif name in lists:
            raw = lists[name]
        else:
            continue
        references: set[str] = set()
        result[name] = _published(raw, prefix, references, name)
        waiting |= references - result.keys()
    return dict(sorted(result.items()))


def _custom(kinds: Iterable[Kind], prefix: str) -> tuple[Mapping[str, Object], Mapping[str, Object]]:
    """Schemas of custom kinds and of their lists, by the names of the definitions."""
    shown = {kind.definition: kind for kind in kinds if kind.extra.get("openapi") is not None}
    custom: dict[str, Object] = {name: kind.extra["openapi"] for name, kind in shown.items()}
    lists = {f"{name}List": list_schema(name, kind.resource.plural, custom[name]) for name, kind in shown.items()}
    render = in_version_2 if prefix == _V2 else in_version_3
    return {name: render(raw) for name, raw in custom.items()}, lists


def _published(raw: Mapping[str, Any], prefix: str, references: set[str], name: str = "") -> Object:
    """A schema with full references and, in version 3, defaults as the reference publishes them."""
    if name in (QUANTITY, INT_OR_STRING):
        described = {"description": raw["description"]} if "description" in raw else {}
        if prefix == _V3:
            return {**described, **_EXAMPLES[name]}
        return {**described, "type": "string"} | ({"format": "int-or-string"} if name == INT_OR_STRING else {})
    result: Object = {}
    for key, value in raw.items():
        if key == "properties":
            result[key] = {field: _published(item, prefix, references) for field, item in sorted(value.items())}
        elif key in ("items", "additionalProperties", "not") and isinstance(value, Mapping):
            result[key] = _published(value, prefix, references)
        elif key in ("allOf", "anyOf", "oneOf") and prefix == _V3:
            result[key] = [_published(item, prefix, references) for item in value]
        elif key == "$ref":
            references.add(value)
            result[key] = prefix + value
        elif prefix == _V2 and key in ("nullable", "oneOf", "anyOf", "not"):
            continue  # version 2 has no words for these
        else:
            result[key] = value
    if prefix == _V3 and "$ref" in result and len(result) > 1:
        # Beside a reference, version 3 ignores everything; so the reference goes into allOf.
        result["allOf"] = [{"$ref": result.pop("$ref")}]
    return _with_defaults(result, raw, name) if prefix == _V3 and name else result


def _with_defaults(result: Object, raw: Mapping[str, Any], name: str) -> Object:
    """Defaults of a structure's fields: {} for structures that are always written, zero for required scalars."""
    known = definitions()
    if name not in known:
        return result
    written = known.schema(name).always_written
    required = raw.get("required") or ()
    for field, schema in (result.get("properties") or {}).items():
        if "allOf" in schema and (field == "metadata" or written.get(field) == {}):
            schema["default"] = {}
        elif field in required and schema.get("type") in _ZERO and schema.get("format") != "byte":
            schema["default"] = _ZERO[schema["type"]]
    return result


_ZERO: Mapping[str, Any] = {"string": "", "integer": 0, "boolean": False, "number": 0}


def _paths(ops: Iterable[Operation], render: Any) -> Object:
    paths: Object = {}
    for op in ops:
        item = paths.setdefault(op.path, {})
        item[op.method] = render(op)
    return dict(sorted(paths.items()))


def _common(op: Operation) -> Object:
    return {
        "description": op.description,
        "operationId": op.operation_id,
        "tags": [op.tag],
        "x-kubernetes-action": op.action,
        "x-kubernetes-group-version-kind": {"group": op.group, "kind": op.kind, "version": op.version},
    }


def _consumed(op: Operation) -> tuple[str, ...]:
    if op.method != "patch":
        return ("*/*",)
    return CUSTOM_PATCH_TYPES if op.custom else PATCH_TYPES


def _produced(op: Operation) -> tuple[str, ...]:
    return CUSTOM_JSON_TYPES if op.custom else JSON_TYPES


def _operation_v3(op: Operation) -> Object:
    rendered = _common(op)
    rendered["parameters"] = [
        {"name": item.name, "in": item.place, "description": item.description, "schema": {"type": item.type}}
        | ({"required": True} if item.place == "path" else {})
        for item in op.parameters
    ]
    if op.body:
        types = _consumed(op)
        rendered["requestBody"] = {"content": {media: {"schema": {"$ref": _V3 + op.body}} for media in types}}
    schema: Object = {"schema": {"$ref": _V3 + op.result}} if op.result else {"schema": {"type": "string"}}
    rendered["responses"] = {
        "200": {"description": "OK", "content": dict.fromkeys(_produced(op), schema)},
        "401": {"description": "Unauthorized"},
    }
    return rendered


def _operation_v2(op: Operation) -> Object:
    rendered = _common(op)
    rendered["consumes"] = list(_consumed(op))
    rendered["produces"] = list(_produced(op))
    rendered["schemes"] = ["https"]
    rendered["parameters"] = [
        {"name": item.name, "in": item.place, "description": item.description, "type": item.type, "uniqueItems": True}
        | ({"required": True} if item.place == "path" else {})
        for item in op.parameters
    ]
    if op.body:
        body: Object = {"name": "body", "in": "body", "required": True, "schema": {"$ref": _V2 + op.body}}
        rendered["parameters"].append(body)
    schema: Object = {"$ref": _V2 + op.result} if op.result else {"type": "string"}
    rendered["responses"] = {"200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}}
    return rendered
