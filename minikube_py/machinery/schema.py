"""Compiled schemas: one form for built-in kinds and for CustomResourceDefinitions.

In: an OpenAPI definition (from the bundle, or a CRD's structural schema). Out: ``Schema`` records that
decoding, patching, managed fields and defaulting walk. A schema and what it refers to are shared and
read-only; parts are compiled when they are first reached, so that recursive definitions are no problem
and a kind costs only what is used of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from minikube_py.machinery.definitions import Bundle, forget_descriptions, open_bundle
from minikube_py.machinery.go_types import FIELD_DEFAULTS, always_written
from minikube_py.machinery.objects import Object

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
FIELDS_V1 = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"
RAW_EXTENSION = "io.k8s.apimachinery.pkg.runtime.RawExtension"
_RAW_PREFIX = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
_OPAQUE = frozenset({FIELDS_V1, RAW_EXTENSION, _RAW_PREFIX})

Resolver = Callable[[str], "Schema"]


class Schema:
    """What is known of one place in an object. Read-only once it is made.

    ``properties`` of an object with declared fields; ``additional`` is the schema of a map's values;
    ``items`` that of a list's. ``list_type`` is "atomic", "set", "map" or "" (which merges as atomic),
    ``map_type`` "granular", "atomic" or "". ``name`` is the definition's name ("" inside another one);
    ``format`` is OpenAPI's, and "quantity", "time", "micro-time" for those types. ``raw`` is what it was
    compiled from, for validations of custom resources that only they have.
    """

    __slots__ = (
        "_additional", "_items", "_properties", "_resolve", "always_written", "cache", "default", "description",
        "embedded", "enum", "format", "int_or_string", "list_map_keys", "list_type", "map_type", "name",
        "nullable", "patch_merge_key", "patch_strategy", "preserve_unknown", "raw", "required", "structural", "type",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any], resolve: Resolver | None = None, *, name: str = "") -> None:
        self._resolve = resolve
        self._properties: dict[str, Schema] | None = None
        self._items: Schema | None = None
        self._additional: Schema | None = None
        self.raw = raw
        self.name = name
        self.type: str = raw.get("type", "")
        self.format: str = raw.get("format", "")
        self.required: frozenset[str] = frozenset(raw.get("required") or ())
        self.nullable: bool = bool(raw.get("nullable"))
        self.enum: tuple[Any, ...] = tuple(raw.get("enum") or ())
        self.default: Any = raw.get("default")
        self.list_type: str = raw.get("x-kubernetes-list-type", "")
        self.list_map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type", "")
        self.patch_strategy: str = raw.get("x-kubernetes-patch-strategy", "")
        self.patch_merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")
        self.preserve_unknown: bool = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.int_or_string: bool = bool(raw.get("x-kubernetes-int-or-string")) or name == INT_OR_STRING
        self.embedded: bool = bool(raw.get("x-kubernetes-embedded-resource"))
        self.description: str = raw.get("description", "")
        self.structural = resolve is None
        """Whether it comes from a CRD: unknown fields are pruned, values are checked by validation."""
        self.always_written: Mapping[str, Any] = always_written(name)
        """Fields that Go writes even when they are zero, with that zero value."""
        self.cache: dict[str, Any] = {}
        """Compiled walkers of other modules, by their name."""
        if name == TIME:
            self.format = "time"
        elif name == MICRO_TIME:
            self.format = "micro-time"
        elif name in _OPAQUE or (name.startswith(_RAW_PREFIX) and not raw.get("properties")):
            self.type, self.preserve_unknown = "", True

    @property
    def properties(self) -> Mapping[str, Schema]:
        """Declared fields by name."""
        if self._properties is None:
            declared = self.raw.get("properties") or {}
            self._properties = {key: self._compile(value, key) for key, value in declared.items()}
        return self._properties

    @property
    def items(self) -> Schema | None:
        """Schema of a list's items."""
        if self._items is None and isinstance(found := self.raw.get("items"), Mapping):
            self._items = self._compile(found)
        return self._items

    @property
    def additional(self) -> Schema | None:
        """Schema of a map's values; ``ANYTHING`` where the map takes any."""
        if self._additional is None:
            found = self.raw.get("additionalProperties")
            if isinstance(found, Mapping):
                self._additional = self._compile(found)
            elif found:
                self._additional = ANYTHING
        return self._additional

    def short_name(self) -> str:
        """``PodSpec`` for ``io.k8s.api.core.v1.PodSpec``."""
        return self.name.rpartition(".")[2]

    def at(self, path: str) -> Schema | None:
        """The schema at a dotted path ("spec.template"; "[]" descends into a list), or None."""
        here: Schema | None = self
        for part in path.split("."):
            if here is None:
                return None
            here = here.items if part == "[]" else here.properties.get(part) or here.additional
        return here

    def _compile(self, raw: Mapping[str, Any], key: str = "") -> Schema:
        reference = raw.get("$ref")
        if reference is None or self._resolve is None:
            schema = Schema(raw, self._resolve)
        else:
            schema = _overlaid(self._resolve(reference), raw)
        default = FIELD_DEFAULTS.get((self.name, key)) if self._resolve else None
        if default is not None:
            schema = _copied(schema)
            schema.default = default
        return schema

    def __repr__(self) -> str:
        return f"Schema({self.name or self.type or 'any'})"


_OVERLAYS = (
    ("x-kubernetes-list-type", "list_type"),
    ("x-kubernetes-map-type", "map_type"),
    ("x-kubernetes-patch-strategy", "patch_strategy"),
    ("x-kubernetes-patch-merge-key", "patch_merge_key"),
    ("default", "default"),
)


def _copied(schema: Schema) -> Schema:
    result = Schema(schema.raw, schema._resolve, name=schema.name)
    result.list_type, result.map_type = schema.list_type, schema.map_type
    result.patch_strategy, result.patch_merge_key = schema.patch_strategy, schema.patch_merge_key
    result.default = schema.default
    return result


def _overlaid(schema: Schema, raw: Mapping[str, Any]) -> Schema:
    """The definition with what the place that refers to it says beyond the reference."""
    if not any(key in raw for key, _ in _OVERLAYS):
        return schema
    result = _copied(schema)
    for key, attribute in _OVERLAYS:
        if key in raw:
            setattr(result, attribute, raw[key])
    return result


ANYTHING = Schema({"x-kubernetes-preserve-unknown-fields": True})
"""The schema that says nothing: every value is kept as it is."""


class Definitions:
    """The built-in definitions, compiled one by one when they are first asked for."""

    __slots__ = ("_bundle", "_schemas")

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._schemas: dict[str, Schema] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._bundle

    def __iter__(self) -> Iterator[str]:
        return iter(self._bundle)

    def schema(self, name: str) -> Schema:
        """The compiled definition; KeyError when there is none of this name."""
        found = self._schemas.get(name)
        if found is None:
            found = self._schemas[name] = Schema(self._bundle.structure(name), self.schema, name=name)
        return found

    def find(self, name: str) -> Schema | None:
        """The compiled definition; None when there is none of this name."""
        return self._schemas.get(name) or (self.schema(name) if name in self._bundle else None)

    def definition_of(self, api_version: str, kind: str) -> str | None:
        """The name of a built-in kind's definition, or None; lists and options included."""
        return self._bundle.definition_of(api_version, kind)

    def structure(self, name: str) -> Object:
        """The definition as OpenAPI without descriptions; a fresh copy. References are bare names."""
        return self._bundle.structure(name)

    def raw(self, name: str) -> Object:
        """The definition as OpenAPI with descriptions; a fresh copy. References are bare names."""
        result = self._bundle.structure(name)
        descriptions = self._bundle.descriptions(name)
        if "" in descriptions:
            result = {"description": descriptions[""], **result}
        properties = result.get("properties") or {}
        for key, value in properties.items():
            if key in descriptions:
                properties[key] = {"description": descriptions[key], **value}
        return result

    def published(self, name: str) -> Object:
        """The definition as OpenAPI documents show it: ``raw`` with the enumerations and the texts about them.

        Neither schemas nor the descriptions of printed columns have these: built-in kinds are validated by their
        own code, with Kubernetes' errors, and columns are described by the Go types' own documentation.
        """
        result = self.raw(name)
        properties = result.get("properties") or {}
        for key, (values, text) in self._bundle.enumerations(name).items():
            schema = properties[key]
            _of_single_values(schema)["enum"] = values[:]
            described = [part for part in (schema.pop("description", ""), text) if part]
            properties[key] = {"description": "\n\n".join(described), **schema} if described else schema
        return result

    @property
    def digest(self) -> str:
        """Changes whenever any definition, description or enumeration does."""
        return self._bundle.digest

    def release(self) -> None:
        """Free the descriptions and enumerations that have been unpacked."""
        forget_descriptions()


def _of_single_values(raw: Object) -> Object:
    """The schema of a list's items or a map's values, through all levels; else the schema itself."""
    inner = raw.get("items") or raw.get("additionalProperties")
    return _of_single_values(inner) if isinstance(inner, dict) else raw


@cache
def definitions() -> Definitions:
    """The built-in definitions; ``DefinitionsMissing`` when the bundle was not built."""
    return Definitions(open_bundle())


def custom_schema(raw: Mapping[str, Any]) -> Schema:
    """The compiled form of a CRD's ``openAPIV3Schema`` (structural: no references)."""
    return Schema(raw)
