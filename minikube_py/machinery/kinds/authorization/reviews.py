"""Validation of access reviews (``pkg/apis/authorization/validation``). Reviews are answered, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.objects import Object, namespace_of


def attribute_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    """Exactly one of resource and non-resource attributes is asked about."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        text = "cannot be specified in combination with resourceAttributes"
        return [invalid_value("spec.nonResourceAttributes", go_object("NonResourceAttributes", other), text)]
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [invalid_value("spec.resourceAttributes", None, text)]
    return []


def validate_self(review: Object) -> list[FieldError]:
    """``ValidateSelfSubjectAccessReview``."""
    return attribute_errors(review.get("spec") or {})


def validate_subject(review: Object) -> list[FieldError]:
    """``ValidateSubjectAccessReview``: about somebody."""
    spec = review.get("spec") or {}
    errors = attribute_errors(spec)
    if not spec.get("user") and not spec.get("groups"):
        errors.append(
            invalid_value("spec.user", spec.get("user") or "", "at least one of user or group must be specified")
        )
    return errors


def validate_local(review: Object) -> list[FieldError]:
    """``ValidateLocalSubjectAccessReview``: about something in the review's own namespace."""
    spec, namespace = review.get("spec") or {}, namespace_of(review)
    errors = validate_subject(review)
    resource = spec.get("resourceAttributes")
    if resource is not None and (resource.get("namespace") or "") != namespace:
        text = "must match metadata.namespace"
        errors.append(invalid_value("spec.resourceAttributes.namespace", resource.get("namespace") or "", text))
    other = spec.get("nonResourceAttributes")
    if other is not None:
        text = "disallowed on this kind of request"
        errors.append(invalid_value("spec.nonResourceAttributes", go_object("NonResourceAttributes", other), text))
    return errors
