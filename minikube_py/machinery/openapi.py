"""OpenAPI documents, made from the declared kinds and the definitions.

``openapi_v2`` is the one document of ``/openapi/v2``; ``openapi_v3`` the document of one group version or of one of
the paths that are no resources; ``openapi_v3_index`` lists those with a hash for clients' caches. Schemas of custom
resources come from ``Kind.extra["openapi"]`` (their structural schema with type and metadata). Documents are built
when asked for and not kept: the caller caches the bytes it serves.
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
from minikube_py.machinery.openapi_rendering import V2 as _V2
from minikube_py.machinery.openapi_rendering import V3 as _V3
from minikube_py.machinery.openapi_rendering import in_version_2 as operations_in_version_2
from minikube_py.machinery.openapi_rendering import paths_in_version_3
from minikube_py.machinery.openapi_roots import root_operations
from minikube_py.machinery.schema import INT_OR_STRING, QUANTITY, Definitions, definitions

VERSION = "v1.36.2"
_FORM = 3
"""Counts changes of how documents are made from kinds, which their hashes must show."""
_BEARER = {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"}
_CUSTOM_INFO = {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
_EXAMPLES: Mapping[str, Object] = {
    QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    INT_OR_STRING: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
}


def openapi_v3(kinds: Iterable[Kind], name: str) -> Object:
    """The document called ``name`` in the index: its paths and every schema that they reach. KeyError for others."""
    chosen = list(kinds)
    mine = [kind for kind in chosen if _document_of(kind) == name]
    ops = operations(mine) if mine else [root_operations(_built_in_groups(chosen))[name]]
    known = definitions()
    schemas = _reachable(known, mine, ops, _V3)
    known.release()
    custom = mine and all("custom" in kind.extra for kind in mine)
    return {
        "openapi": "3.0.0",
        "info": dict(_CUSTOM_INFO) if custom else {"title": "Kubernetes", "version": VERSION},
        "paths": paths_in_version_3(ops),
        "components": {"schemas": schemas, "securitySchemes": {"BearerToken": dict(_BEARER)}},
        "security": [{"BearerToken": []}],
    }


def openapi_v2(kinds: Iterable[Kind]) -> Object:
    """The document of all group versions in OpenAPI 2.0."""
    chosen = list(kinds)
    known = definitions()
    ops = [*root_operations(_built_in_groups(chosen)).values(), *operations(chosen)]
    schemas = _reachable(known, chosen, ops, _V2)
    known.release()
    rendered = operations_in_version_2(ops)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": rendered.paths,
        "definitions": schemas,
        "parameters": rendered.parameters,
        "securityDefinitions": {"BearerToken": dict(_BEARER)},
        "security": [{"BearerToken": []}],
    }


def openapi_v3_index(kinds: Iterable[Kind]) -> Object:
    """``{"paths": {"apis/apps/v1": {"serverRelativeURL": ...}}}``; the hash changes when the kinds do."""
    chosen = list(kinds)
    names = {*map(_document_of, chosen), *root_operations(_built_in_groups(chosen))}
    found = {name: f"/openapi/v3/{name}?hash={document_hash(chosen, name)}" for name in sorted(names)}
    return {"paths": {name: {"serverRelativeURL": url} for name, url in found.items()}}


def document_hash(kinds: Sequence[Kind], name: str) -> str:
    """A hash of what the document ``name`` is made from (not of the document: that would build it)."""
    parts: list[Any] = [VERSION, _FORM, definitions().digest, name]
    for kind in kinds:
        if _document_of(kind) == name:
            subresources = [[sub.name, list(sub.verbs)] for sub in kind.subresources]
            parts.append([kind.resource.plural, kind.definition, list(kind.verbs), subresources])
            parts.append(kind.extra.get("openapi"))
    return hashlib.sha512(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest().upper()


def _document_of(kind: Kind) -> str:
    """The name in the index of the document that holds a kind."""
    resource = kind.resource
    return f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"


def _built_in_groups(kinds: Iterable[Kind]) -> list[str]:
    return list(dict.fromkeys(kind.resource.group for kind in kinds if "custom" not in kind.extra))


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
    lists = {kind.list_definition: list_schema(kind, custom[name]) for name, kind in shown.items()}
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
