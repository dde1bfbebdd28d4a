"""Resources of a pod as a whole, and how they bound those of its containers (``validatePodResources``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported
from minikube_py.machinery.kinds.common.checks import Errors, quantity
from minikube_py.machinery.kinds.common.resource_names import (
    is_huge_page,
    requirements_errors,
    standard_resource_errors,
)
from minikube_py.machinery.quantities import Quantity

_SUPPORTED = ("cpu", "hugepages-", "memory")


def pod_resource_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """The errors of ``spec.resources``, which is there."""
    resources = spec["resources"]
    errors: Errors = []
    if resources.get("claims"):
        errors.append(forbidden_field(f"{path}.claims", "claims cannot be set for Resources at pod-level"))
    errors += requirements_errors(path, resources, _name_errors)
    return errors + _request_errors(f"{path}.requests", spec) + _limit_errors(path, spec)


def _name_errors(path: str, name: str) -> list[FieldError]:
    """``validatePodResourceName``."""
    errors = standard_resource_errors(path, name)
    if not errors and name not in _SUPPORTED and not is_huge_page(name):
        errors.append(not_supported(path, name, _SUPPORTED))
    return errors


def _request_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """What the containers request together fits into the pod's requests."""
    given = spec["resources"].get("requests") or {}
    errors: Errors = []
    for name, total in sorted(_aggregate_requests(spec).items()):
        if name not in _SUPPORTED and not is_huge_page(name):
            continue
        asked = quantity(given.get(name))
        if total > asked:
            text = f"must be greater than or equal to aggregate container requests of {total}"
            errors.append(invalid_value(f"{path}[{name}]", str(asked), text))
    return errors


def _aggregate_requests(spec: Mapping[str, Any]) -> dict[str, Quantity]:
    """``AggregateContainerRequests``: regular containers and sidecars add up; init containers run one by one."""
    sums: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    peaks: dict[str, int] = {}
    notations: dict[str, str] = {}

    def requests(container: Mapping[str, Any]) -> dict[str, int]:
        found = {name: quantity(amount) for name, amount in
                 ((container.get("resources") or {}).get("requests") or {}).items()}  # fmt: skip
        for name, amount in found.items():
            notations.setdefault(name, amount.notation)
        return {name: amount.nano for name, amount in found.items()}

    for container in spec.get("containers") or ():
        for name, nano in requests(container).items():
            sums[name] = sums.get(name, 0) + nano
    for container in spec.get("initContainers") or ():
        own = requests(container)
        if container.get("restartPolicy") == "Always":
            for name, nano in own.items():
                sums[name] = sums.get(name, 0) + nano
                sidecars[name] = sidecars.get(name, 0) + nano
            own = sidecars
        else:
            own = {name: own.get(name, 0) + sidecars.get(name, 0) for name in {*own, *sidecars}}
        for name, nano in own.items():
            peaks[name] = max(peaks.get(name, 0), nano)
    return {name: Quantity(max(sums.get(name, 0), peaks.get(name, 0)), notations[name]) for name in {*sums, *peaks}}


def _limit_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """No container has a limit above the pod's."""
    limits = spec["resources"].get("limits") or {}
    errors: Errors = []
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in sorted(((container.get("resources") or {}).get("limits") or {}).items()):
            if name in limits and quantity(amount) > quantity(limits[name]):
                field = f"{path}.containers[{index}][{name}].limits"
                text = f"must be less than or equal to pod limits of {quantity(limits[name])}"
                errors.append(invalid_value(field, str(quantity(amount)), text))
    return errors
