"""Published schemas of custom kinds: what apiextensions adds to a structural schema, and its form in OpenAPI 2.0.

Pure functions over raw JSON schemas, which are read-only. References are names of definitions, as everywhere before
``openapi`` makes full ones of them. Follows apiextensions' ``openapi/builder`` and ``openapi/v2``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import definitions

Json = Mapping[str, Any]

GROUP_VERSION_KIND = "x-kubernetes-group-version-kind"
SELECTABLE_FIELDS = "x-kubernetes-selectable-fields"
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_ANY_OBJECT, _ANY_LIST = "io.k8s.api.core.v1.ConfigMap", "io.k8s.api.core.v1.ConfigMapList"
_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_EMBEDDED_TEXTS = {
    "apiVersion": "apiVersion defines the versioned schema of this representation of an object. "
    f"More info: {_CONVENTIONS}#resources",
    "kind": "kind is a string value representing the type of this object. In CamelCase. "
    f"More info: {_CONVENTIONS}#types-kinds",
}
_NOT_IN_V2 = frozenset({"allOf", "anyOf", "oneOf", "not", "default", "nullable"})


def common_properties() -> Object:
    """The fields that every object has."""
    known = definitions().raw(_ANY_OBJECT)["properties"]
    return {name: known[name] for name in ("apiVersion", "kind", "metadata")}


def _embedded_properties() -> Object:
    """The same fields, as they are described where one object is part of another."""
    common = common_properties()
    return {
        name: {**schema, "description": _EMBEDDED_TEXTS.get(name, schema["description"])}
        for name, schema in common.items()
    }


def published(raw: Json, group_version_kind: Json, selectable: Iterable[str] = ()) -> Object:
    """The schema of a custom kind with the common fields at its root; quick, whatever its size.

    ``selectable``: paths of the fields that selectors may name.
    """
    properties = {**(raw.get("properties") or {}), **common_properties()}
    shown = {**raw, "type": "object", "properties": properties, GROUP_VERSION_KIND: [dict(group_version_kind)]}
    fields = [{"fieldPath": path} for path in selectable]
    return {**shown, SELECTABLE_FIELDS: fields} if fields else shown


def in_version_3(shown: Json) -> Object:
    """A published schema in OpenAPI 3.0: with the common fields of embedded resources."""
    result: Object = _with_embedded(shown, _embedded_properties(), all_of_them=True)
    return result


def _with_embedded(raw: Any, common: Object, *, all_of_them: bool) -> Any:
    """The schema with the common fields in each embedded resource below it.

    Unless ``all_of_them``, those that keep unknown fields are left alone: readers of version 2 would refuse the others.
    """
    if not isinstance(raw, Mapping):
        return raw
    result = dict(raw)
    for key in ("items", "additionalProperties"):
        if key in raw:
            result[key] = _with_embedded(raw[key], common, all_of_them=all_of_them)
    if "properties" in raw:
        inside = raw["properties"].items()
        result["properties"] = {name: _with_embedded(inner, common, all_of_them=all_of_them) for name, inner in inside}
    if raw.get(_EMBEDDED) and (all_of_them or not raw.get(_PRESERVE)):
        required = raw.get("required") or ()
        result["properties"] = {**(result.get("properties") or {}), **common}
        result["required"] = [*required, *(name for name in ("kind", "apiVersion") if name not in required)]
    return result


def list_schema(kind: Kind, shown: Json) -> Object:
    """The schema of the list type of a custom kind whose published schema is ``shown``."""
    own = shown[GROUP_VERSION_KIND][0]
    common = definitions().raw(_ANY_LIST)["properties"]
    items = {"type": "array", "items": {"$ref": kind.definition}}
    return {
        "description": f"{kind.list_kind} is a list of {own['kind']}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **{name: common[name] for name in ("apiVersion", "kind")},
            "metadata": {
                **common["metadata"],
                "description": f"Standard list metadata. More info: {_CONVENTIONS}#types-kinds",
            },
            "items": {"description": f"List of {kind.resource.plural}. More info: {_CONVENTIONS}", **items},
        },
        GROUP_VERSION_KIND: [{**own, "kind": kind.list_kind}],
    }


def in_version_2(shown: Json) -> Object:
    """A published schema in OpenAPI 2.0. A root that keeps unknown fields has no properties, or clients refuse them."""
    if shown.get(_PRESERVE):
        return {
            "type": "object",
            **{key: shown[key] for key in (GROUP_VERSION_KIND, SELECTABLE_FIELDS) if key in shown},
        }
    result: Object = _in_version_2(_with_embedded(shown, _embedded_properties(), all_of_them=False))
    return result


def _in_version_2(raw: Any) -> Any:
    """What version 2 has no word for is left out, and with it what its readers misunderstand then."""
    if not isinstance(raw, Mapping):
        return raw
    left_out = set(_NOT_IN_V2)
    if raw.get("nullable"):
        left_out |= {"type", "items", "properties"}
    if raw.get(_PRESERVE):
        left_out |= {"items", "properties"}
    result = {key: value for key, value in raw.items() if key not in left_out}
    if result.get("type") == "array" and "items" not in result:
        del result["type"]
    required = _required(result)
    if required:
        result["required"] = required
    else:
        result.pop("required", None)
    for key in ("items", "additionalProperties"):
        if key in result:
            result[key] = _in_version_2(result[key])
    if "properties" in result:
        result["properties"] = {name: _in_version_2(inner) for name, inner in result["properties"].items()}
    return result


def _required(schema: Json) -> list[str]:
    """The required fields that have a type in version 2."""
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping) and additional.get("nullable"):
        return []
    properties = schema.get("properties") or {}
    return [name for name in schema.get("required") or () if not (properties.get(name) or {}).get("nullable")]
