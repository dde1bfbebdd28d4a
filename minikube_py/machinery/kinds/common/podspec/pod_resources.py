"""Resources of a pod as a whole, and how they bound those of its containers (``validatePodResources``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported
from minikube_py.machinery.kinds.common.checks import Errors, quantity
from minikube_py.machinery.kinds.common.pod_sums import containers_need
from minikube_py.machinery.kinds.common.resource_names import (
    POD_RESOURCES,
    is_huge_page,
    is_pod_resource,
    requirements_errors,
    standard_resource_errors,
)


def pod_resource_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """The errors of ``spec.resources``, which is there."""
    if (spec.get("os") or {}).get("name") == "windows":
        return [forbidden_field(path, "may not be set for a windows pod")]
    resources = spec["resources"]
    errors: Errors = []
    if resources.get("claims"):
        errors.append(forbidden_field(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    errors += requirements_errors(path, resources, _name_errors)
    errors += _sum_errors(f"{path}.requests", spec, "requests")
    return errors + _sum_errors(f"{path}.limits", spec, "limits") + _limit_errors(path, spec)


def _name_errors(path: str, name: str) -> list[FieldError]:
    """``validatePodResourceName``."""
    errors = standard_resource_errors(path, name)
    if not errors and not is_pod_resource(name):
        errors.append(not_supported(path, name, POD_RESOURCES))
    return errors


def _sum_errors(path: str, spec: Mapping[str, Any], sort: str) -> Errors:
    """What the containers ask for together fits into the pod's; of limits that counts for huge pages alone."""
    given = spec["resources"].get(sort) or {}
    errors: Errors = []
    for name, total in sorted(containers_need(spec, sort).items()):
        if name not in given or (sort == "limits" and not is_huge_page(name)):
            continue
        if total > quantity(given[name]):
            text = f"must be greater than or equal to aggregate container {sort} of {total}"
            errors.append(invalid_value(f"{path}[{name}]", str(quantity(given[name])), text))
    return errors


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
