"""ResourceSlice: a part of the devices that a driver offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import Errors, label, subdomain
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.podspec.scheduling import node_selector_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import immutable, wire_form
from minikube_py.machinery.kinds.resource.devices import counters_errors, device_errors
from minikube_py.machinery.kinds.resource.names import driver_errors, limited, pool_name_errors, unique
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.resource.v1.ResourceSlice"
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_MAX_DEVICES, _MAX_RICH_DEVICES, _MAX_COUNTER_SETS = 128, 64, 8


def prepare_create(resource_slice: Object) -> None:
    _drop_disabled(resource_slice, {})


def prepare_update(resource_slice: Object, old: Object) -> None:
    _drop_disabled(resource_slice, old)


_LISTS = ("ints", "bools", "strings", "versions")


def _drop_disabled(resource_slice: Object, old: Object) -> None:
    """Attributes that are lists are dropped where nobody used them before: their feature gate is off in v1.36."""
    if any(attribute.get(field) is not None for attribute in _attributes(old) for field in _LISTS):
        return
    for attribute in _attributes(resource_slice):
        for field in _LISTS:
            attribute.pop(field, None)


def _attributes(resource_slice: Object) -> Iterator[Any]:
    for device in (resource_slice.get("spec") or {}).get("devices") or ():
        yield from (device.get("attributes") or {}).values()


def validate(resource_slice: Object) -> list[FieldError]:
    """``ValidateResourceSlice``."""
    return _spec_errors(resource_slice.get("spec") or {}, None)


def validate_update(resource_slice: Object, old: Object) -> list[FieldError]:
    """Driver, pool and node never change."""
    return _spec_errors(resource_slice.get("spec") or {}, old.get("spec") or {})


def _spec_errors(spec: Mapping[str, Any], before: Mapping[str, Any] | None) -> Errors:
    pool = spec.get("pool") or {}
    errors = driver_errors("spec.driver", spec.get("driver") or "") + _pool_errors("spec.pool", pool)
    if before is not None:
        old_pool = (before.get("pool") or {}).get("name") or ""
        errors += immutable("spec.pool.name", pool.get("name") or "", old_pool)
        errors += immutable("spec.driver", spec.get("driver") or "", before.get("driver") or "")
        errors += immutable("spec.nodeName", spec.get("nodeName"), before.get("nodeName"))
    errors += _place_errors("spec", spec)
    devices, counters = spec.get("devices"), spec.get("sharedCounters")
    if devices is not None and counters is not None:
        errors.append(invalid_value("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    return errors + _device_list_errors(spec) + _counter_set_errors("spec.sharedCounters", counters or ())


def _device_list_errors(spec: Mapping[str, Any]) -> Errors:
    devices: Sequence[Mapping[str, Any]] = spec.get("devices") or ()
    limit = _MAX_RICH_DEVICES if any(map(_is_rich, devices)) else _MAX_DEVICES
    apart = bool(spec.get("perDeviceNodeSelection"))

    def check(path: str, device: Mapping[str, Any]) -> Errors:
        return device_errors(path, device, has_own_place=apart)

    errors = limited("spec.devices", devices, limit, check)
    return errors + unique("spec.devices", [device.get("name") or "" for device in devices], limit)


def _is_rich(device: Mapping[str, Any]) -> bool:
    """Whether a device takes more room than most: such slices hold fewer of them."""
    lists = any(field.endswith("s") for one in (device.get("attributes") or {}).values() for field in one)
    return bool(device.get("taints") or device.get("consumesCounters")) or lists


def _counter_set_errors(path: str, sets: Sequence[Mapping[str, Any]]) -> Errors:
    def check(at: str, one: Mapping[str, Any]) -> Errors:
        called = one.get("name") or ""
        errors = label(f"{at}.name", called) if called else [required(f"{at}.name")]
        return errors + counters_errors(f"{at}.counters", one.get("counters") or {})

    errors = limited(path, sets, _MAX_COUNTER_SETS, check)
    return errors + unique(path, [one.get("name") or "" for one in sets], _MAX_COUNTER_SETS)


def _pool_errors(path: str, pool: Mapping[str, Any]) -> Errors:
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    errors = pool_name_errors(f"{path}.name", pool.get("name") or "")
    if count <= 0:
        errors.append(invalid_value(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        errors.append(invalid_value(f"{path}.generation", generation, "must be greater than or equal to zero"))
    return errors


def _place_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    if spec.get("nodeName") is not None:
        errors += (
            subdomain(f"{path}.nodeName", spec["nodeName"])
            if spec["nodeName"]
            else [invalid_value(f"{path}.nodeName", "", "must be either unset or set to a non-empty string")]
        )
    selector = spec.get("nodeSelector")
    if selector is not None:
        errors += node_selector_errors(f"{path}.nodeSelector", selector)
        terms = selector.get("nodeSelectorTerms") or ()
        if len(terms) != 1:
            shown = [go_object("NodeSelectorTerm", term) for term in terms] or selector.get("nodeSelectorTerms")
            text = "must have exactly one node selector term"
            errors.append(invalid_value(f"{path}.nodeSelector.nodeSelectorTerms", shown, text))
    errors += [
        invalid_value(f"{path}.{field}", False, "must be either unset or set to true")
        for field in ("allNodes", "perDeviceNodeSelection")
        if spec.get(field) is False
    ]
    given = [field for field in _PLACES if spec.get(field) or (field == "nodeSelector" and selector is not None)]
    listed = ", ".join(f"`{field}`" for field in _PLACES)
    if not given:
        errors.append(required(path, f"exactly one of {listed} is required"))
    elif len(given) > 1:
        text = f"exactly one of {listed} is required, but multiple fields are set"
        named = ", ".join(f"`{field}`" for field in given)
        errors.append(invalid_value(path, f"{{{named}}}", text))
    return errors


def row(resource_slice: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(resource_slice, "spec")
    node = spec.get("nodeName")
    return (
        name(resource_slice),
        "<unset>" if node is None else node,
        spec.get("driver") or "",
        part(spec, "pool").get("name") or "",
        age(resource_slice, now),
    )


KIND = Kind(
    resource=Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", namespaced=False),
    singular="resourceslice",
    definition=DEFINITION,
    default=wire_form(DEFINITION),
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    generation=True,
    columns=(
        NAME,
        column("Node", f"{DEFINITION}Spec.nodeName"),
        column("Driver", f"{DEFINITION}Spec.driver"),
        column("Pool", "io.k8s.api.resource.v1.ResourcePool.name"),
        AGE,
    ),
    row=row,
    selectable={
        "spec.nodeName": lambda obj: str(part(obj, "spec").get("nodeName") or ""),
        "spec.driver": lambda obj: str(part(obj, "spec").get("driver") or ""),
    },
    extra={
        "unsupported_field": "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}",
    },
)
