"""Validation of access reviews (``pkg/apis/authorization/validation``). Reviews are answered, never stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import requirement_errors
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.objects import Object, metadata, namespace_of


def validate_self(review: Object) -> list[FieldError]:
    """``ValidateSelfSubjectAccessReview``."""
    return _spec_errors(review.get("spec") or {}, with_user=False) + _metadata_errors(review, "")


def validate_subject(review: Object) -> list[FieldError]:
    """``ValidateSubjectAccessReview``: about somebody."""
    return _spec_errors(review.get("spec") or {}, with_user=True) + _metadata_errors(review, "")


def validate_local(review: Object) -> list[FieldError]:
    """``ValidateLocalSubjectAccessReview``: about something in the review's own namespace."""
    spec, namespace = review.get("spec") or {}, namespace_of(review)
    errors = _spec_errors(spec, with_user=True) + _metadata_errors(review, namespace)
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and (resource.get("namespace") or "") != namespace:
        text = "must match metadata.namespace"
        errors.append(invalid_value("spec.resourceAttributes.namespace", resource.get("namespace") or "", text))
    if other is not None:
        text = "disallowed on this kind of request"
        errors.append(invalid_value("spec.nonResourceAttributes", go_object("NonResourceAttributes", other), text))
    return errors


def _spec_errors(spec: Mapping[str, Any], *, with_user: bool) -> list[FieldError]:
    """Exactly one of resource and non-resource attributes is asked about."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    errors: list[FieldError] = []
    if resource is not None and other is not None:
        text = "cannot be specified in combination with resourceAttributes"
        errors.append(invalid_value("spec.nonResourceAttributes", go_object("NonResourceAttributes", other), text))
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errors.append(invalid_value("spec.resourceAttributes", None, text))
    if with_user and not spec.get("user") and not spec.get("groups"):
        errors.append(invalid_value("spec.user", "", "at least one of user or group must be specified"))
    for field, check in (("fieldSelector", _field_requirement_errors), ("labelSelector", _label_requirement_errors)):
        errors += _selector_errors(f"spec.resourceAttributes.{field}", (resource or {}).get(field), check)
    return errors


def _selector_errors(
    path: str, selector: Mapping[str, Any] | None, check: Callable[[str, Mapping[str, Any]], list[FieldError]]
) -> list[FieldError]:
    if selector is None:
        return []
    raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or ()
    errors: list[FieldError] = []
    if raw and requirements:
        errors.append(invalid_value(f"{path}.rawSelector", raw, "may not specified at the same time as requirements"))
    if not raw and not requirements:
        text = f"when {path} is specified, requirements or rawSelector is required"
        errors.append(required(f"{path}.requirements", text))
    for index, requirement in enumerate(requirements):
        errors += check(f"{path}.requirements[{index}]", requirement)
    return errors


def _label_requirement_errors(path: str, requirement: Mapping[str, Any]) -> list[FieldError]:
    """Operators that this version does not know are let through: newer clients may send them."""
    return requirement_errors(path, requirement, any_operator=True)


def _field_requirement_errors(path: str, requirement: Mapping[str, Any]) -> list[FieldError]:
    operator, values = requirement.get("operator"), requirement.get("values")
    errors: list[FieldError] = [] if requirement.get("key") else [required(f"{path}.key", "must be specified")]
    if operator in ("In", "NotIn") and not values:
        errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    if operator in ("Exists", "DoesNotExist") and values:
        text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        errors.append(forbidden_field(f"{path}.values", text))
    return errors


def _metadata_errors(review: Object, namespace: str) -> list[FieldError]:
    """Reviews carry no metadata but their namespace (managed fields and what the server fills in apart)."""
    free = ("managedFields", "creationTimestamp", *(("namespace",) if namespace else ()))
    given = {key: value for key, value in metadata(review).items() if value and key not in free}
    if not given:
        return []
    text = "must be empty except for namespace" if namespace else "must be empty"
    return [invalid_value("metadata", metadata(review), text)]
