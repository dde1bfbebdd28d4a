"""Defaults and validation of device claims (``pkg/apis/resource``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import invalid_value, required, too_long
from minikube_py.machinery.kinds.common.checks import Errors, label, one_of, subdomain
from minikube_py.machinery.kinds.common.setting import items, set_default
from minikube_py.machinery.kinds.resource.names import (
    configuration_errors,
    full_attribute_name_errors,
    limited,
    toleration_errors,
    unique,
)
from minikube_py.machinery.objects import Object

MAX_ENTRIES = 32
_MAX_ALTERNATIVES = 8
_MAX_EXPRESSION_BYTES = 10 * 1024
_MODES = ("All", "ExactCount")
DeviceId = tuple[str, str, str, str]


def device_id(device: Mapping[str, Any]) -> DeviceId:
    """What tells an allocated device, or a report of one, from others: driver, pool, device, share."""
    driver, pool, called, share = (device.get(field) or "" for field in ("driver", "pool", "device", "shareID"))
    return driver, pool, called, share


def default_claim_spec(spec: Object) -> None:
    """Exactly one device is asked for unless the request says otherwise."""
    for request in items(spec.get("devices") or {}, "requests"):
        for asked in (request.get("exactly"), *items(request, "firstAvailable")):
            if asked is None:
                continue
            set_default(asked, allocationMode="ExactCount")
            if asked["allocationMode"] == "ExactCount":
                set_default(asked, count=1)
            for toleration in items(asked, "tolerations"):
                set_default(toleration, operator="Equal")


def claim_spec_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validateResourceClaimSpec``."""
    devices, path = spec.get("devices") or {}, f"{path}.devices"
    requests = devices.get("requests") or ()
    known = request_names(devices)
    errors = limited(f"{path}.requests", requests, MAX_ENTRIES, _request_errors)
    errors += unique(f"{path}.requests", _names(requests), MAX_ENTRIES)

    def constraint(at: str, entry: Mapping[str, Any]) -> Errors:
        return references_errors(f"{at}.requests", entry.get("requests") or (), known) + _constraint_errors(at, entry)

    def configuration(at: str, entry: Mapping[str, Any]) -> Errors:
        return references_errors(f"{at}.requests", entry.get("requests") or (), known) + configuration_errors(at, entry)

    errors += limited(f"{path}.constraints", devices.get("constraints") or (), MAX_ENTRIES, constraint)
    return errors + limited(f"{path}.config", devices.get("config") or (), MAX_ENTRIES, configuration)


def _names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [entry.get("name") or "" for entry in entries]


def request_names(devices: Mapping[str, Any]) -> set[str]:
    """What may be named in a claim: requests, and subrequests as ``request/subrequest``."""
    names = set()
    for request in devices.get("requests") or ():
        called = request.get("name") or ""
        names.add(called)
        names |= {f"{called}/{sub}" for sub in _names(request.get("firstAvailable") or ())}
    return names


def _request_errors(path: str, request: Mapping[str, Any]) -> Errors:
    errors = label(f"{path}.name", request.get("name") or "")
    exactly, first = request.get("exactly"), request.get("firstAvailable") or ()
    if exactly is not None and first:
        text = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        return [*errors, invalid_value(path, None, text)]
    if exactly is None and not first:
        return [*errors, required(path, "exactly one of `exactly` or `firstAvailable` is required")]
    if exactly is not None:
        return errors + _asked_errors(f"{path}.exactly", exactly)
    errors += limited(f"{path}.firstAvailable", first, _MAX_ALTERNATIVES, _alternative_errors)
    return errors + unique(f"{path}.firstAvailable", _names(first), _MAX_ALTERNATIVES)


def _alternative_errors(path: str, asked: Mapping[str, Any]) -> Errors:
    return label(f"{path}.name", asked.get("name") or "") + _asked_errors(path, asked)


def _asked_errors(path: str, asked: Mapping[str, Any]) -> Errors:
    called, mode, count = asked.get("deviceClassName") or "", asked.get("allocationMode") or "", asked.get("count") or 0
    errors = subdomain(f"{path}.deviceClassName", called) if called else [required(f"{path}.deviceClassName")]
    errors += selectors_errors(f"{path}.selectors", asked.get("selectors") or ())
    if mode == "All":
        if count:
            text = "must not be specified when allocationMode is 'All'"
            errors.append(invalid_value(f"{path}.count", count, text))
    elif mode == "ExactCount":
        if count <= 0:
            errors.append(invalid_value(f"{path}.count", count, "must be greater than zero"))
    else:
        errors += one_of(f"{path}.allocationMode", mode, _MODES)
    for index, toleration in enumerate(asked.get("tolerations") or ()):
        errors += toleration_errors(f"{path}.tolerations[{index}]", toleration)
    return errors


def selectors_errors(path: str, selectors: Sequence[Mapping[str, Any]]) -> Errors:
    """Each selector is an expression that compiles."""
    return limited(path, selectors, MAX_ENTRIES, _selector_errors)


def _selector_errors(path: str, selector: Mapping[str, Any]) -> Errors:
    cel = selector.get("cel")
    if cel is None:
        return [required(f"{path}.cel")]
    expression = cel.get("expression") or ""
    if not expression:
        return [required(f"{path}.cel.expression")]
    if len(expression.encode()) > _MAX_EXPRESSION_BYTES:
        return [too_long(f"{path}.cel.expression", _MAX_EXPRESSION_BYTES)]
    from minikube_py.machinery.kinds.resource.selectors import expression_errors

    return expression_errors(f"{path}.cel.expression", expression)


def references_errors(path: str, names: Sequence[str], known: set[str]) -> Errors:
    """Names of requests in a list: existing ones, each once."""
    errors = limited(path, names, MAX_ENTRIES, lambda at, called: reference_errors(at, called, known))
    return errors + unique(path, names, MAX_ENTRIES)


def reference_errors(path: str, called: str, known: set[str]) -> Errors:
    """``validateRequestNameRef``."""
    text = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
    steps = called.split("/")
    if len(steps) > 2:
        return [invalid_value(path, called, text)]
    errors = [error for step in steps for error in label(path, step)]
    return errors if called in known else [*errors, invalid_value(path, called, text)]


def _constraint_errors(path: str, entry: Mapping[str, Any]) -> Errors:
    for field in ("matchAttribute", "distinctAttribute"):
        if entry.get(field) is not None:
            return full_attribute_name_errors(f"{path}.{field}", entry[field])
    text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
    return [required(path, text)]
