"""Validation of a resource claim's status: who reserved it, what was allocated, what drivers report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, required, too_long, too_many
from minikube_py.machinery.kinds.common.checks import Errors, interface_address_errors, label, not_supported_in_order
from minikube_py.machinery.kinds.common.condition_validation import condition_errors
from minikube_py.machinery.kinds.common.podspec.scheduling import node_selector_errors
from minikube_py.machinery.kinds.resource.claims import (
    MAX_ENTRIES,
    DeviceId,
    device_id,
    reference_errors,
    references_errors,
    request_names,
)
from minikube_py.machinery.kinds.resource.names import (
    binding_errors,
    configuration_errors,
    driver_errors,
    limited,
    pool_name_errors,
    raw_object_errors,
    toleration_errors,
    uid_errors,
    unique,
)
from minikube_py.machinery.objects import Object

_MAX_CONSUMERS, _MAX_CONDITIONS = 256, 8
_MAX_INTERFACE_NAME, _MAX_HARDWARE_ADDRESS, _MAX_ADDRESSES = 256, 128, 16
_SOURCES = ("FromClaim", "FromClass")


def status_errors(claim: Object, old: Object) -> Errors:
    """``ValidateResourceClaimStatusUpdate``; an allocation never changes, it only comes and goes."""
    status, before = claim.get("status") or {}, old.get("status") or {}
    consumers, allocation = status.get("reservedFor") or (), status.get("allocation")
    errors = limited("status.reservedFor", consumers, _MAX_CONSUMERS, _consumer_errors)
    errors += unique("status.reservedFor", [one.get("uid") or "" for one in consumers], _MAX_CONSUMERS)
    results = ((allocation or {}).get("devices") or {}).get("results") or ()
    allocated = {device_id(result) for result in results}
    devices = status.get("devices") or ()
    for index, device in enumerate(devices):
        errors += _device_errors(f"status.devices[{index}]", device, allocated)
    errors += unique("status.devices", [_shown_id(device_id(device)) for device in devices])
    if consumers and allocation is None:
        text = "may not be specified when `allocated` is not set"
        errors.append(forbidden_field("status.reservedFor", text))
    elif consumers and claim["metadata"].get("deletionTimestamp"):
        earlier = before.get("reservedFor") or ()
        if any(consumer not in earlier for consumer in consumers):
            text = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            errors.append(forbidden_field("status.reservedFor", text))
    if allocation is None:
        return errors
    if before.get("allocation") is None:
        names = request_names((claim.get("spec") or {}).get("devices") or {})
        return errors + _allocation_errors("status.allocation", allocation, names)
    if allocation != before["allocation"]:
        errors.append(invalid_value("status.allocation", allocation, "field is immutable"))
    return errors


def _consumer_errors(path: str, consumer: Mapping[str, Any]) -> Errors:
    return [required(f"{path}.{field}") for field in ("resource", "name", "uid") if not consumer.get(field)]


def _allocation_errors(path: str, allocation: Mapping[str, Any], names: set[str]) -> Errors:
    devices = allocation.get("devices") or {}

    def result(at: str, entry: Mapping[str, Any]) -> Errors:
        errors = reference_errors(f"{at}.request", entry.get("request") or "", names)
        errors += _place_errors(at, entry) + binding_errors(at, entry) + _share_errors(at, entry)
        for index, toleration in enumerate(entry.get("tolerations") or ()):
            errors += toleration_errors(f"{at}.tolerations[{index}]", toleration)
        return errors

    def configuration(at: str, entry: Mapping[str, Any]) -> Errors:
        source = entry.get("source") or ""
        errors: Errors = []
        if not source:
            errors.append(required(f"{at}.source"))
        elif source not in _SOURCES:
            errors.append(not_supported_in_order(f"{at}.source", source, _SOURCES))
        errors += references_errors(f"{at}.requests", entry.get("requests") or (), names)
        return errors + configuration_errors(at, entry)

    errors = limited(f"{path}.devices.results", devices.get("results") or (), MAX_ENTRIES, result)
    errors += limited(f"{path}.devices.config", devices.get("config") or (), 2 * MAX_ENTRIES, configuration)
    if allocation.get("nodeSelector") is not None:
        errors += node_selector_errors(f"{path}.nodeSelector", allocation["nodeSelector"])
    return errors


def _place_errors(path: str, device: Mapping[str, Any]) -> Errors:
    """Driver, pool and name of a device."""
    errors = driver_errors(f"{path}.driver", device.get("driver") or "")
    errors += pool_name_errors(f"{path}.pool", device.get("pool") or "")
    return errors + label(f"{path}.device", device.get("device") or "")


def _share_errors(path: str, device: Mapping[str, Any]) -> Errors:
    return uid_errors(f"{path}.shareID", device["shareID"]) if device.get("shareID") is not None else []


def _shown_id(device: DeviceId) -> dict[str, str]:
    return dict(zip(("Driver", "Pool", "Device", "ShareID"), device, strict=True))


def _device_errors(path: str, device: Mapping[str, Any], allocated: set[DeviceId]) -> Errors:
    errors = _place_errors(path, device) + _share_errors(path, device)
    found = device_id(device)
    if found not in allocated:
        errors.append(invalid_value(path, _shown_id(found), "must be an allocated device in the claim"))
    conditions = device.get("conditions") or ()
    if len(conditions) > _MAX_CONDITIONS:
        errors.append(too_many(f"{path}.conditions", len(conditions), _MAX_CONDITIONS))
    errors += condition_errors(f"{path}.conditions", conditions)
    if device.get("data") is not None:
        errors += raw_object_errors(f"{path}.data", device["data"])
    network = device.get("networkData") or {}
    for field, limit in (("interfaceName", _MAX_INTERFACE_NAME), ("hardwareAddress", _MAX_HARDWARE_ADDRESS)):
        if len((network.get(field) or "").encode()) > limit:
            errors.append(too_long(f"{path}.networkData.{field}", limit))
    addresses = network.get("ips") or ()
    errors += limited(f"{path}.networkData.ips", addresses, _MAX_ADDRESSES, interface_address_errors)
    return errors + unique(f"{path}.networkData.ips", addresses, _MAX_ADDRESSES)
