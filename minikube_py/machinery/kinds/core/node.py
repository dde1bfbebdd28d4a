"""Node: a machine that runs pods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, go_quote, invalid_value
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import (
    cidr_errors,
    cidr_warnings,
    duplicates,
    non_negative_quantity,
    parse_cidr,
    qualified_name,
)
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.podspec.scheduling import taint_effect_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part, yes_no
from minikube_py.machinery.kinds.common.resource_names import integer_errors
from minikube_py.machinery.kinds.common.setting import child
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.names import label_value_errors
from minikube_py.machinery.objects import Object, labels_of, thaw
from minikube_py.machinery.resources import NODES

DEFINITION = "io.k8s.api.core.v1.Node"
_STATUS = "io.k8s.api.core.v1.NodeStatus"
_INFO = "io.k8s.api.core.v1.NodeSystemInfo"
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE = "kubernetes.io/role"


def fill(node: Object) -> None:
    """What can be allocated defaults to the capacity; the first pod CIDR is mirrored."""
    status, spec = child(node, "status"), child(node, "spec")
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])
    first, listed = spec.get("podCIDR"), spec.get("podCIDRs")
    if first and (not listed or listed[0] != first):
        spec["podCIDRs"] = [first]
    elif listed:
        spec["podCIDR"] = listed[0]


def validate(node: Object) -> list[FieldError]:
    """``ValidateNode``."""
    spec = node.get("spec") or {}
    errors = _taint_errors("metadata.taints", spec.get("taints") or ())
    status = node.get("status") or {}
    errors += _amount_errors(status) + _swap_errors(status) + _feature_errors(status)
    cidrs: Sequence[str] = spec.get("podCIDRs") or ()
    for index, cidr in enumerate(cidrs):
        errors += cidr_errors(f"spec.podCIDRs[{index}]", cidr)
    if len(cidrs) > 1:
        errors += _cidr_list_errors("spec.podCIDRs", cidrs)
    return errors


def _cidr_list_errors(path: str, cidrs: Sequence[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    bad = next((cidr for cidr in cidrs if parse_cidr(cidr) is None), None)
    if bad is not None:
        why = f"invalid CIDR[0]: <nil> (invalid CIDR address: {bad})"
        text = f"invalid PodCIDRs. failed to check with dual stack with error:{why}"
        errors.append(FieldError("InternalError", path, "", text))
    if len(cidrs) > 2 or not _dual_stack(cidrs):
        errors.append(invalid_value(path, list(cidrs), "may specify no more than one CIDR for each IP family"))
    return errors + duplicates(path, cidrs)


def _dual_stack(cidrs: Sequence[str]) -> bool:
    return {found.version for cidr in cidrs if (found := parse_cidr(cidr)) is not None} == {4, 6}


def _taint_errors(path: str, taints: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        field, key, effect = f"{path}[{index}]", taint.get("key") or "", taint.get("effect") or ""
        errors += qualified_name(f"{field}.key", key)
        wrong = label_value_errors(taint.get("value") or "")
        if wrong:
            errors.append(invalid_value(f"{field}.value", taint.get("value") or "", ";".join(wrong)))
        errors += taint_effect_errors(f"{field}.effect", effect)
        if (key, effect) in seen:
            error = duplicate(field, go_object("Taint", taint))
            errors.append(
                FieldError(error.type, error.field, error.value, "taints must be unique by key and effect pair")
            )
        seen.add((key, effect))
    return errors


def _amount_errors(status: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("capacity", "allocatable"):
        for resource, amount in sorted((status.get(field) or {}).items()):
            path = f"status.{field}.{resource}"
            errors += non_negative_quantity(path, amount) + integer_errors(path, resource, amount)
    return errors


def _swap_errors(status: Mapping[str, Any]) -> list[FieldError]:
    """Kubernetes reports it under metadata."""
    capacity = ((status.get("nodeInfo") or {}).get("swap") or {}).get("capacity")
    if capacity is None or capacity > 0:
        return []
    return [invalid_value("metadata.nodeSwapStatus.capacity", capacity, "must be greater than zero")]


_FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*")
_LONGEST_FEATURE = 253
_FEATURE_TEXT = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


def _feature_errors(status: Mapping[str, Any]) -> list[FieldError]:
    """The features a node declares: well formed, sorted, each once (``validateNodeDeclaredFeatures``)."""
    path, names = "status.declaredFeatures", status.get("declaredFeatures") or ()
    errors: list[FieldError] = []
    for index, feature in enumerate(names):
        why = "" if _FEATURE.fullmatch(feature) else _FEATURE_TEXT
        if len(feature) > _LONGEST_FEATURE:
            why = f"must be no more than {_LONGEST_FEATURE} characters"
        if why:
            errors.append(
                invalid_value(f"{path}[{index}]", feature, f"invalid feature name {go_quote(feature)}: {why}")
            )
        following = names[index + 1] if index + 1 < len(names) else None
        if feature == following:
            errors.append(duplicate(f"{path}[{index + 1}]", following))
        elif following is not None and feature > following:
            errors.append(invalid_value(f"{path}[{index + 1}]", following, "list must be sorted alphabetically"))
    return errors


def validate_update(node: Object, old: Object) -> list[FieldError]:
    """A node is valid as a new one is, and changes as it may; Kubernetes tells what is wrong with both twice."""
    return validate(node) + validate_change(node, old)


def validate_change(node: Object, old: Object) -> list[FieldError]:
    """``ValidateNodeUpdate``: CIDRs and provider id are set once. Kubernetes reports taints under metadata."""
    spec, before, status = node.get("spec") or {}, old.get("spec") or {}, node.get("status") or {}
    errors = _amount_errors(status) + _feature_errors(status)
    addresses = set()
    for index, address in enumerate(status.get("addresses") or ()):
        key = (address.get("type"), address.get("address"))
        if key in addresses:
            errors.append(duplicate(f"status.addresses[{index}]", go_object("NodeAddress", address)))
        addresses.add(key)
    was, now = before.get("podCIDRs") or [], spec.get("podCIDRs") or []
    changes = [one != other for one, other in zip(was, now, strict=False)] if len(was) == len(now) else [bool(was)]
    text = 'node updates may not change podCIDR except from "" to valid'
    errors += [forbidden_field("spec.podCIDRs", text) for changed in changes if changed]
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        errors.append(forbidden_field("spec.providerID", text))
    errors += _taint_errors("metadata.taints", spec.get("taints") or ())
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        errors.append(forbidden_field("spec.externalID", "may not be updated"))
    return errors


def prepare_update(node: Object, old: Object) -> None:
    """Status changes through its subresource only; the registry keeps it. The kubelet's configuration is not set."""
    if "status" in old:
        node["status"] = thaw(old["status"])
    if (old.get("spec") or {}).get("configSource") is None:
        (node.get("spec") or {}).pop("configSource", None)


def prepare_create(node: Object) -> None:
    """Nodes are no longer told their kubelet's configuration."""
    (node.get("spec") or {}).pop("configSource", None)
    (node.get("status") or {}).pop("config", None)


def warnings(node: Object, old: Object | None) -> list[str]:
    """Fields that nothing reads any more, and ranges of addresses that are written oddly."""
    spec = node.get("spec") or {}
    found = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, value in enumerate(spec.get("podCIDRs") or ()):
        found += cidr_warnings(f"spec.podCIDRs[{index}]", value)
    return found


def row(node: Mapping[str, Any], now: float) -> Sequence[Cell]:
    """``printNode``."""
    info = part(node, "status", "nodeInfo")
    return (
        name(node),
        status_text(node),
        ",".join(_roles(node)) or "<none>",
        age(node, now),
        info.get("kubeletVersion") or "",
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    )


def status_text(node: Mapping[str, Any]) -> str:
    """``Ready``, ``NotReady`` or ``Unknown``, and whether scheduling is off."""
    ready = next((c for c in part(node, "status").get("conditions") or () if c.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if part(node, "spec").get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(node: Mapping[str, Any]) -> list[str]:
    found = set()
    for key, value in labels_of(node).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            found.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE and value:
            found.add(value)
    return sorted(found)


def _address(node: Mapping[str, Any], kind: str) -> str:
    for address in part(node, "status").get("addresses") or ():
        if address.get("type") == kind:
            return str(address.get("address") or "")
    return "<none>"


KIND = Kind(
    resource=NODES,
    singular="node",
    definition=DEFINITION,
    short_names=("no",),
    subresources=(
        Subresource("proxy", ("create", "delete", "get", "patch", "update"), kind="NodeProxyOptions"),
        Subresource("status"),
    ),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_change,
    warnings=warnings,
    has_status=True,
    columns=(
        NAME,
        column("Status", text="The status of the node"),
        column("Roles", text="The roles of the node"),
        AGE,
        column("Version", f"{_INFO}.kubeletVersion"),
        column("Internal-IP", f"{_STATUS}.addresses", wide=True),
        column("External-IP", f"{_STATUS}.addresses", wide=True),
        column("OS-Image", f"{_INFO}.osImage", wide=True),
        column("Kernel-Version", f"{_INFO}.kernelVersion", wide=True),
        column("Container-Runtime", f"{_INFO}.containerRuntimeVersion", wide=True),
    ),
    row=row,
    selectable={"spec.unschedulable": lambda node: yes_no(part(node, "spec").get("unschedulable"))},
    extra={"status_on_create": True, "unsupported_field": "field label not supported: {field}"},
)
