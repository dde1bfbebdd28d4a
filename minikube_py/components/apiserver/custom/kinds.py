"""From a CustomResourceDefinition to the kinds it declares. Pure functions; definitions are read-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from minikube_py.components.apiserver.custom.conversion import Version, Versions, reader, writer
from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.custom_resources.defaults import fill_defaults
from minikube_py.machinery.custom_resources.places import DEFAULTS, Place, marked_places
from minikube_py.machinery.kind import Cell, Column, Kind, Scale, Subresource, no_change
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, since
from minikube_py.machinery.kinds.common.printing import name as name_of
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.openapi_custom import published
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.schema import OBJECT_META, Schema, custom_schema, definitions

if TYPE_CHECKING:
    from minikube_py.components.apiserver.admission.webhooks.transport import HookCaller
    from minikube_py.components.apiserver.metrics.conversion import ConversionMetrics

_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""In the order in which discovery lists them for custom kinds."""


def versions_of(crd: Object) -> dict[str, Version]:
    """All versions of a definition by ``apiVersion``; they depend on its specification alone."""
    from minikube_py.machinery.custom_resources.resources import ResourceValidator  # CEL is not needed without CRDs

    found: dict[str, Version] = {}
    for item in (crd.get("spec") or {}).get("versions") or ():
        raw, resource = _raw(item), resource_of(crd, str(item["name"]))
        places = marked_places(raw)
        validator = ResourceValidator(places, (item.get("subresources") or {}).get("scale"))
        found[resource.api_version] = Version(resource.api_version, _schema(raw), _defaulter(places), validator)
    return found


def kinds_of(crd: Object, versions: Mapping[str, Version], reading: Reading) -> list[Kind]:
    """A kind for each served version of an established definition; ``versions`` are its ``versions_of``."""
    storage = versions[resource_of(crd, stored_version(crd)).api_version]
    all_versions = Versions(versions, storage, reading.changed_after)
    declared = (crd.get("spec") or {}).get("versions") or ()
    return [_kind(crd, version, all_versions, reading) for version in declared if version.get("served")]


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a definition's objects is stored, and who converts them."""

    changed_after: int
    """The revision up to which schemas changed (``conversion.Versions``)."""
    has_older: bool
    """Whether there may be objects from before that revision, or of other versions than the storage version."""
    caller: HookCaller
    metrics: ConversionMetrics
    token: object
    """Equal as long as the definition's specification is the same."""


def _raw(version: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a version as it was written."""
    found: Mapping[str, Any] | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return found or {"x-kubernetes-preserve-unknown-fields": True}


def _conversion(crd: Object, version: Version, versions: Versions, reading: Reading) -> dict[str, Any]:
    """How objects get from the store to a version and back: fields of ``Kind``, and members of its ``extra``."""
    if len(versions.by_name) == 1 and not reading.has_older:
        return {"from_storage": None, "to_storage": None, "extra": {}}
    extra: dict[str, Any] = {"stale": versions.is_stale}
    conversion = crd["spec"].get("conversion") or {}
    if conversion.get("strategy") != "Webhook" or len(versions.by_name) == 1:
        write = None if version is versions.storage else writer(versions)
        return {"from_storage": reader(versions, version), "to_storage": write, "extra": extra}
    from minikube_py.components.apiserver.admission.webhooks.hooks import read_address
    from minikube_py.components.apiserver.custom.conversion_webhook import Webhook, WebhookConverter

    config = conversion.get("webhook") or {}
    webhook = Webhook(
        address=read_address(config.get("clientConfig") or {}),
        review_versions=tuple(config.get("conversionReviewVersions") or ()),
        versions=versions,
        caller=reading.caller,
        counted=partial(reading.metrics.asked, str(crd["metadata"]["name"])),
        token=reading.token,
    )
    extra["converter"] = WebhookConverter(webhook, version)
    return {"from_storage": None, "to_storage": None, "extra": extra}


def _kind(crd: Object, version: Object, versions: Versions, reading: Reading) -> Kind:
    names = accepted_names(crd)
    resource = resource_of(crd, str(version["name"]))
    raw = _raw(version)
    parts = version.get("subresources") or {}
    scale = parts.get("scale")
    columns, row = _columns(version.get("additionalPrinterColumns") or ())
    stored = resource_of(crd, stored_version(crd))
    this = versions.by_name[resource.api_version]
    validator = this.validator
    conversion = _conversion(crd, this, versions, reading)
    return Kind(
        resource=resource,
        singular=str(names.get("singular") or resource.kind.lower()),
        definition=definition_name(resource),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=_VERBS,
        subresources=_subresources(parts),
        scale=_scale(scale) if scale else None,
        storage=None if stored == resource else stored,
        to_storage=conversion["to_storage"],
        from_storage=conversion["from_storage"],
        default=this.default,
        validate=validator.new_errors,
        validate_update=validator.changed_errors,
        validate_status=validator.changed_errors,
        warnings=validator.warnings,
        generation=True,
        has_status=parts.get("status") is not None,
        unconditional_update=False,
        columns=columns,
        row=row,
        selectable=_selectable(version.get("selectableFields") or ()),
        extra={
            "custom": crd["metadata"]["name"],
            **conversion["extra"],
            "schema": this.schema,
            "compiles": validator.compiles,
            "listKind": names.get("listKind"),
            "openapi": published_schema(resource, raw, version.get("selectableFields") or ()),
            "terminating": condition_is_true((crd.get("status") or {}).get("conditions"), "Terminating"),
            "unsupported_field": "field label not supported: {field}",
            "deprecation": _deprecation(resource, version),
        },
    )


def _deprecation(resource: Resource, version: Object) -> str:
    """The warning that every answer of a deprecated version carries; empty for other versions."""
    if not version.get("deprecated"):
        return ""
    return str(version.get("deprecationWarning") or f"{resource.api_version} {resource.kind} is deprecated")


def definition_name(resource: Resource) -> str:
    """The name of the published schema: the group's domain from its end, such as ``com.example.stable.v1.CronTab``."""
    reversed_group = ".".join(reversed(resource.group.split(".")))
    return f"{reversed_group}.{resource.version}.{resource.kind}"


def published_schema(
    resource: Resource, raw: Mapping[str, Any], selectable: Sequence[Mapping[str, Any]] = ()
) -> Object:
    """The schema as OpenAPI documents show it: with the fields that every object has, and its type's name."""
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return published(raw, own, [str(field["jsonPath"]).removeprefix(".") for field in selectable])


def resource_of(crd: Object, version: str) -> Resource:
    spec = crd["spec"]
    names = spec["names"]
    return Resource(spec["group"], version, names["plural"], names["kind"], spec.get("scope") != "Cluster")


def accepted_names(crd: Object) -> Object:
    """The names that are in use: the accepted ones, or those asked for before anything was accepted."""
    names: Object = (crd.get("status") or {}).get("acceptedNames") or {}
    return names if names.get("plural") and names.get("kind") else crd["spec"]["names"]


def wanted_names(crd: Object) -> Object:
    """The names of the specification with their defaults."""
    names: Object = thaw(crd["spec"]["names"])
    names.setdefault("singular", str(names["kind"]).lower())
    names.setdefault("listKind", f"{names['kind']}List")
    return names


def stored_version(crd: Object) -> str:
    versions = crd["spec"]["versions"]
    return next((str(item["name"]) for item in versions if item.get("storage")), "")


def _schema(raw: Mapping[str, Any]) -> Schema:
    """The structural schema, with metadata as every object has it and the type's own two fields."""
    properties = dict(raw.get("properties") or {})
    schema = custom_schema({**raw, "x-kubernetes-embedded-resource": True, "properties": properties})
    compiled = dict(schema.properties)
    compiled["metadata"] = definitions().schema(OBJECT_META)
    for field in ("kind", "apiVersion"):
        compiled.setdefault(field, custom_schema({"type": "string"}))
    schema._properties = compiled
    return schema


def _subresources(parts: Mapping[str, Any]) -> tuple[Subresource, ...]:
    found = []
    if parts.get("status") is not None:
        found.append(Subresource("status"))
    if parts.get("scale") is not None:
        found.append(Subresource("scale", kind="Scale", group="autoscaling", version="v1"))
    return tuple(found)


def _scale(declared: Mapping[str, Any]) -> Scale:
    return Scale(
        spec_replicas=str(declared.get("specReplicasPath", ".spec.replicas")).lstrip("."),
        status_replicas=str(declared.get("statusReplicasPath", ".status.replicas")).lstrip("."),
        selector=str(declared.get("labelSelectorPath") or "").lstrip("."),
    )


def _defaulter(places: Place) -> Callable[[Object], None]:
    """What fills in the schema's defaults."""
    return partial(fill_defaults, places) if places.below & DEFAULTS else no_change


def _selectable(fields: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[Object], str]]:
    def reader(path: str) -> Callable[[Object], str]:
        return lambda obj: _shown(_at(obj, path))

    return {str(field["jsonPath"]).lstrip("."): reader(str(field["jsonPath"])) for field in fields}


_AGE = replace(AGE, type="date")


def _columns(
    declared: Sequence[Mapping[str, Any]],
) -> tuple[tuple[Column, ...], Callable[[Object, float], Sequence[Cell]]]:
    """Printer columns; without any there is the age."""
    if not declared:
        return (NAME, _AGE), lambda obj, now: (name_of(obj), age(obj, now))
    columns = (NAME, *(_column(item) for item in declared))

    def row(obj: Object, now: float) -> Sequence[Cell]:
        return [name_of(obj), *(_cell(_at(obj, str(item["jsonPath"])), str(item["type"]), now) for item in declared)]

    return columns, row


def _column(item: Mapping[str, Any]) -> Column:
    described = f"Custom resource definition column (in JSONPath format): {item['jsonPath']}"
    return Column(
        str(item["name"]),
        str(item["type"]),
        str(item.get("format") or ""),
        str(item.get("description") or described),
        int(item.get("priority") or 0),
    )


def _cell(value: Any, type: str, now: float) -> Cell:
    """A value as its column's type asks (``tableconvertor``): a value of another type is not shown."""
    if value is None:
        return None
    if type == "date":
        return since(value, now) if isinstance(value, str) else "<unknown>"
    if type == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if type == "number":
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if type == "boolean":
        return value if isinstance(value, bool) else None
    return _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        import orjson

        return orjson.dumps(value).decode()
    return str(value)


def _at(obj: Any, path: str) -> Any:
    """The first value at a JSONPath made of fields, quoted fields, indexes and simple filters."""
    from minikube_py.components.apiserver.custom.paths import first_value

    return first_value(obj, path)
