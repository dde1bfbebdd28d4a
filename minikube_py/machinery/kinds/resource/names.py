"""Names, taints and configurations that claims, device classes and slices share (``pkg/apis/resource/validation``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from minikube_py.machinery.errors import duplicate, go_quote, invalid_value, required, too_long, too_many
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    named,
    not_supported_in_order,
    one_of,
    qualified_name,
    subdomain,
)
from minikube_py.machinery.names import c_identifier_errors, dns1123_subdomain_errors, label_value_errors

MAX_CONFIG_BYTES = 10 * 1024
_MAX_DOMAIN, _MAX_ID, _MAX_POOL, _MAX_CONDITIONS = 63, 32, 253, 4
_EFFECTS = ("NoExecute", "NoSchedule", "None")


def limited(path: str, entries: Sequence[Any], limit: int, check: Callable[[str, Any], Errors]) -> Errors:
    """``validateSlice``: too many entries are not looked at."""
    if len(entries) > limit:
        return [too_many(path, len(entries), limit)]
    return [error for index, entry in enumerate(entries) for error in check(f"{path}[{index}]", entry)]


def unique(path: str, keys: Sequence[Any], limit: int | None = None) -> Errors:
    """A ``Duplicate`` for each entry whose key came before; none are looked for among too many."""
    if limit is not None and len(keys) > limit:
        return []
    return [duplicate(f"{path}[{at}]", key) for at, key in enumerate(keys) if key in keys[:at]]


def driver_errors(path: str, driver: str) -> Errors:
    """``ValidateCSIDriverName``, whose rule drivers of devices follow."""
    if not driver:
        return [required(path)]
    errors: Errors = [too_long(path, _MAX_DOMAIN)] if len(driver) > _MAX_DOMAIN else []
    return errors + [invalid_value(path, driver, text) for text in dns1123_subdomain_errors(driver.lower())]


def pool_name_errors(path: str, name: str) -> Errors:
    """``validatePoolName``: subdomains separated by slashes."""
    if not name:
        return [required(path)]
    errors: Errors = [too_long(path, _MAX_POOL)] if len(name) > _MAX_POOL else []
    return errors + [error for step in name.split("/") for error in subdomain(path, step)]


def attribute_name_errors(path: str, name: str) -> Errors:
    """``validateQualifiedName``: an identifier, maybe in a domain."""
    domain, slash, identifier = name.partition("/")
    if not slash:
        return _identifier_errors(path, domain)
    if "/" in identifier:
        return [invalid_value(path, name, "must not contain more than one slash")]
    errors = driver_errors(path, domain) if domain else [invalid_value(path, "", "the domain must not be empty")]
    if not identifier:
        return [*errors, invalid_value(path, "", "the name must not be empty")]
    return errors + _identifier_errors(path, identifier)


def full_attribute_name_errors(path: str, name: str) -> Errors:
    """``validateFullyQualifiedName``: the domain is there."""
    errors = attribute_name_errors(path, name)
    if "/" not in name:
        text = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(invalid_value(path, name, text))
    return errors


def _identifier_errors(path: str, text: str) -> Errors:
    errors: Errors = [too_long(path, _MAX_ID)] if len(text) > _MAX_ID else []
    return errors + named(path, text, c_identifier_errors)


def taint_errors(path: str, taint: Mapping[str, Any]) -> Errors:
    """``validateDeviceTaint``."""
    errors = qualified_name(f"{path}.key", taint.get("key") or "")
    if taint.get("value"):
        errors += named(f"{path}.value", taint["value"], label_value_errors)
    effect = taint.get("effect") or ""
    return errors + (one_of(f"{path}.effect", effect, _EFFECTS) if effect else [required(f"{path}.effect")])


def toleration_errors(path: str, toleration: Mapping[str, Any]) -> Errors:
    """``validateDeviceToleration``."""
    key, value = toleration.get("key") or "", toleration.get("value") or ""
    operator, effect = toleration.get("operator") or "", toleration.get("effect") or ""
    errors = qualified_name(f"{path}.key", key) if key else []
    if operator == "Exists":
        if value:
            errors.append(invalid_value(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        errors += named(f"{path}.value", value, label_value_errors)
    elif not operator:
        errors.append(required(f"{path}.operator"))
    else:
        errors.append(not_supported_in_order(f"{path}.operator", operator, ("Equal", "Exists")))
    return errors + (one_of(f"{path}.effect", effect, _EFFECTS) if effect else [])


def configuration_errors(path: str, entry: Mapping[str, Any]) -> Errors:
    """``validateDeviceConfiguration``: the driver is named and the parameters are an object."""
    opaque = entry.get("opaque")
    if opaque is None:
        return [required(f"{path}.opaque")]
    errors = driver_errors(f"{path}.opaque.driver", opaque.get("driver") or "")
    return errors + raw_object_errors(f"{path}.opaque.parameters", opaque.get("parameters"))


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BARE_UUID = re.compile(r"[0-9a-fA-F]{32}")
_URN = "urn:uuid:"


def uid_errors(path: str, uid: str) -> Errors:
    """``validateUID``: a UUID in its usual form. Texts of what is none are those of Go's ``uuid.Validate``."""
    why = _no_uuid(uid)
    if why:
        return [invalid_value(path, uid, f"error validating uid: {why}")]
    if len(uid) == 36 and uid == uid.lower():
        return []
    text = (
        "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal "
        "characters"
    )
    return [invalid_value(path, uid, text)]


def _no_uuid(uid: str) -> str:
    bare = uid
    if len(uid) == len(_URN) + 36:
        if uid[: len(_URN)].lower() != _URN:
            return f"invalid urn prefix: {go_quote(uid[: len(_URN)])}"
        bare = uid[len(_URN) :]
    elif len(uid) == 38:
        if uid[0] != "{" or uid[-1] != "}":
            return "invalid bracketed UUID format"
        bare = uid[1:-1]
    elif len(uid) == 32:
        return "" if _BARE_UUID.fullmatch(uid) else "invalid UUID format"
    elif len(uid) != 36:
        return f"invalid UUID length: {len(uid)}"
    return "" if _UUID.fullmatch(bare) else "invalid UUID format"


def raw_object_errors(path: str, value: Any) -> Errors:
    """``validateRawExtension``: a JSON object of limited size."""
    if value is None:
        return [required(path)]
    if len(orjson.dumps(value)) > MAX_CONFIG_BYTES:
        return [too_long(path, MAX_CONFIG_BYTES)]
    if not isinstance(value, Mapping):
        return [invalid_value(path, "<value omitted>", "must be a valid JSON object")]
    return []


def binding_errors(path: str, holder: Mapping[str, Any]) -> Errors:
    """``validateDeviceBindingParameters``: both sorts of conditions or none, and no condition twice."""
    wanted, failing = (list(holder.get(name) or ()) for name in ("bindingConditions", "bindingFailureConditions"))
    wanted_at, failing_at = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"
    errors = limited(wanted_at, wanted, _MAX_CONDITIONS, qualified_name)
    errors += limited(failing_at, failing, _MAX_CONDITIONS, qualified_name)
    errors += unique(wanted_at, wanted)
    for at, condition in enumerate(failing):
        if condition in failing[:at]:
            errors.append(duplicate(f"{failing_at}[{at}]", condition))
        if condition in wanted:
            text = "bindingFailureConditions must not overlap with bindingConditions"
            errors.append(invalid_value(f"{failing_at}[{at}]", condition, text))
    if failing and not wanted:
        text = "bindingConditions are required to use bindingFailureConditions"
        errors.append(invalid_value(wanted_at, holder.get("bindingConditions"), text))
    if wanted and not failing:
        text = "bindingFailureConditions are required to use bindingConditions"
        errors.append(invalid_value(failing_at, holder.get("bindingFailureConditions"), text))
    return errors
