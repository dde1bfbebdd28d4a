"""Validation of the devices that a resource slice offers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value, required, too_long, too_many
from minikube_py.machinery.kinds.common.checks import Errors, label, quantity, subdomain
from minikube_py.machinery.kinds.common.podspec.scheduling import node_selector_errors
from minikube_py.machinery.kinds.resource.names import (
    attribute_name_errors,
    binding_errors,
    limited,
    taint_errors,
    unique,
)
from minikube_py.machinery.quantities import Quantity

_MAX_FACTS, _MAX_TAINTS, _MAX_VALUE_BYTES, _MAX_CONSUMPTIONS, _MAX_COUNTERS = 32, 16, 64, 2, 32
_MAX_OPTIONS, _MAX_SHOWN_KEY = 10, 96
_VALUES = ("int", "bool", "string", "version", "ints", "bools", "strings", "versions")
_GO_VALUES = ("IntValue", "BoolValue", "StringValue", "VersionValue")
_NUMBER, _PRE, _BUILD = r"(0|[1-9]\d*)", r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)", r"[0-9a-zA-Z-]+"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+{_BUILD}(\.{_BUILD})*)?", re.ASCII)


def device_errors(path: str, device: Mapping[str, Any], *, has_own_place: bool) -> Errors:
    """``validateDevice``; ``has_own_place``: each device of the slice says where it is."""
    errors = label(f"{path}.name", device.get("name") or "")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    facts = len(attributes) + len(capacity)
    if facts > _MAX_FACTS:
        text = f"the total number of attributes and capacities must not exceed {_MAX_FACTS}"
        errors.append(invalid_value(path, facts, text))
    for name, attribute in sorted(attributes.items()):
        errors += attribute_name_errors(f"{path}.attributes", name)
        errors += _attribute_errors(f"{path}.attributes[{_shown(name, _MAX_SHOWN_KEY)}]", attribute)
    for name, amount in sorted(capacity.items()):
        errors += attribute_name_errors(f"{path}.capacity", name)
        at = f"{path}.capacity[{_shown(name, _MAX_SHOWN_KEY)}]"
        errors += _capacity_errors(at, amount, shared=bool(device.get("allowMultipleAllocations")))
    errors += limited(f"{path}.taints", device.get("taints") or (), _MAX_TAINTS, taint_errors)
    used = device.get("consumesCounters") or ()
    errors += limited(f"{path}.consumesCounters", used, _MAX_CONSUMPTIONS, _consumption_errors)
    errors += unique(f"{path}.consumesCounters", [one.get("counterSet") or "" for one in used], _MAX_CONSUMPTIONS)
    return errors + _place_errors(path, device, has_own_place) + binding_errors(path, device)


def _shown(key: str, limit: int) -> str:
    """A key for a path, shortened in the middle when it is too long."""
    if len(key) <= limit:
        return key
    rest = limit - 3
    return f"{key[: (rest + 1) // 2]}...{key[len(key) - rest // 2 :]}"


def _attribute_errors(path: str, attribute: Mapping[str, Any]) -> Errors:
    given = [field for field in _VALUES if attribute.get(field) is not None]
    errors: Errors = []
    if attribute.get("string") is not None:
        errors += _length_errors(f"{path}.string", attribute["string"])
    if attribute.get("version") is not None:
        errors += _version_errors(f"{path}.version", attribute["version"])
    for field in given:
        if field.endswith("s") and not attribute[field]:
            errors.append(invalid_value(f"{path}.{field}", [], "must not be empty if specified"))
    for field, check in (("strings", _length_errors), ("versions", _version_errors)):
        for index, value in enumerate(attribute.get(field) or ()):
            errors += check(f"{path}.{field}[{index}]", value)
    if len(given) != 1:
        shown = {go: attribute.get(field) for go, field in zip(_GO_VALUES, _VALUES, strict=False)} if given else ""
        errors.append(invalid_value(path, shown, "exactly one value must be specified"))
    return errors


def _length_errors(path: str, value: str) -> Errors:
    return [too_long(path, _MAX_VALUE_BYTES)] if len(value.encode()) > _MAX_VALUE_BYTES else []


def _version_errors(path: str, value: str) -> Errors:
    errors: Errors = []
    if _VERSION.fullmatch(value) is None:
        errors.append(invalid_value(path, value, "must be a string compatible with semver.org spec 2.0.0"))
    return errors + _length_errors(path, value)


def _capacity_errors(path: str, amount: Mapping[str, Any], *, shared: bool) -> Errors:
    policy = amount.get("requestPolicy")
    if policy is None:
        return []
    path = f"{path}.requestPolicy"
    if not shared:
        return [forbidden_field(path, "allowMultipleAllocations must be true")]
    values, span, default = policy.get("validValues") or (), policy.get("validRange"), policy.get("default")
    if values and span is not None:
        text = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        return [forbidden_field(path, text)]
    if not values and span is None:
        return []
    if default is None:
        sort = "validValues" if values else "validRange"
        return [required(f"{path}.default", f"required when {sort} is defined")]
    most, usual = quantity(amount.get("value")), quantity(default)
    if values:
        return _option_errors(f"{path}.validValues", [quantity(value) for value in values], usual, most)
    return _range_errors(f"{path}.validRange", span or {}, usual, most)


def _option_errors(path: str, options: list[Quantity], usual: Quantity, most: Quantity) -> Errors:
    errors: Errors = [
        invalid_value(f"{path}[{at}]", str(option), "values must be sorted in ascending order")
        for at, option in enumerate(options)
        if at and options[at - 1].nano > option.nano
    ]

    def option_errors(at: str, option: Quantity) -> Errors:
        if option.nano <= most.nano:
            return []
        return [invalid_value(at, str(option), f"option is larger than capacity value: {most}")]

    errors += limited(path, options, _MAX_OPTIONS, option_errors)
    errors += unique(path, [str(option.value()) for option in options], _MAX_OPTIONS)
    if len(options) > _MAX_OPTIONS or all(option.nano != usual.nano for option in options):
        text = "default value is not valid according to the requestPolicy"
        errors.append(invalid_value(path, str(usual), text))
    return errors


def _range_errors(path: str, span: Mapping[str, Any], usual: Quantity, most: Quantity) -> Errors:
    if span.get("min") is None:
        return [required(f"{path}.min", "required when validRange is defined")]
    low, high = quantity(span["min"]), quantity(span["max"]) if span.get("max") is not None else None
    errors: Errors = []
    if low.nano > most.nano:
        errors.append(invalid_value(f"{path}.min", str(low), f"min is larger than capacity value: {most}"))
    if usual.nano < low.nano:
        errors.append(invalid_value(f"{path}.min", str(usual), f"default is less than min: {low}"))
    if high is not None:
        if low.nano > high.nano:
            errors.append(invalid_value(f"{path}.max", str(low), f"min is larger than max: {high}"))
        if high.nano > most.nano:
            errors.append(invalid_value(f"{path}.max", str(high), f"max is larger than capacity value: {most}"))
        if usual.nano > high.nano:
            errors.append(invalid_value(f"{path}.max", str(usual), f"default is more than max: {high}"))
    if span.get("step") is None:
        return errors
    return errors + _step_errors(f"{path}.step", quantity(span["step"]), low, most, [usual, *([high] if high else [])])


def _step_errors(path: str, step: Quantity, low: Quantity, most: Quantity, reached: list[Quantity]) -> Errors:
    if step.nano <= 0:
        return [invalid_value(path, str(step), "must be greater than zero")]
    errors: Errors = []
    if (low + step).nano > most.nano:
        text = f"one step {low + step} is larger than capacity value: {most}"
        errors.append(invalid_value(path, str(step), text))
    for value in reached:
        if (value.value() - low.value()) % step.value():
            text = f"value is not a multiple of a given step ({step}) from ({low})"
            errors.append(invalid_value(path, str(value), text))
    return errors


def _consumption_errors(path: str, used: Mapping[str, Any]) -> Errors:
    called = used.get("counterSet") or ""
    errors = label(f"{path}.counterSet", called) if called else [required(f"{path}.counterSet")]
    return errors + counters_errors(f"{path}.counters", used.get("counters") or {})


def counters_errors(path: str, counters: Mapping[str, Any]) -> Errors:
    """Counters by their names; any amount is valid."""
    if not counters:
        return [required(path)]
    if len(counters) > _MAX_COUNTERS:
        return [too_many(path, len(counters), _MAX_COUNTERS)]
    return [error for name in sorted(counters) for error in label(path, name)]


def _place_errors(path: str, device: Mapping[str, Any], has_own_place: bool) -> Errors:
    node, selector, everywhere = device.get("nodeName"), device.get("nodeSelector"), device.get("allNodes")
    if not has_own_place:
        if node is None and selector is None and everywhere is None:
            return []
        text = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in "
            "the ResourceSlice spec"
        )
        return [invalid_value(path, None, text)]
    errors: Errors = []
    if node is not None:
        errors += (
            subdomain(f"{path}.nodeName", node)
            if node
            else [invalid_value(f"{path}.nodeName", node, "must not be empty")]
        )
    if selector is not None:
        errors += node_selector_errors(f"{path}.nodeSelector", selector)
    if everywhere is False:
        errors.append(invalid_value(f"{path}.allNodes", False, "must be either unset or set to true"))
    given = [f"`{field}`" for field, is_set in (("nodeName", node), ("nodeSelector", selector is not None),
             ("allNodes", everywhere)) if is_set]  # fmt: skip
    text = (
        "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to "
        "true in the ResourceSlice spec"
    )
    if not given:
        errors.append(required(path, text))
    elif len(given) > 1:
        errors.append(invalid_value(path, f"{{{', '.join(given)}}}", text))
    return errors
