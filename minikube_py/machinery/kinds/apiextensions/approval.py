"""Approval in writing of definitions in groups of the Kubernetes community (``k8s.io`` and ``kubernetes.io``).

Pure. Same states and texts as apiextensions' ``apihelpers.GetAPIApprovalState``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import annotations_of

ANNOTATION = "api-approved.kubernetes.io"
_PROTECTED = re.compile(r"(?:^|\.)(?:k8s|kubernetes)\.io$")
_NEEDED = f"protected groups must have approval annotation {go_quote(ANNOTATION)}"
_RULES = "see https://github.com/kubernetes/enhancements/pull/1111"


class Approval(Enum):
    """What the annotation says; the value is the reason in the condition of the definition's status."""

    APPROVED = "ApprovedAnnotation"
    BYPASSED = "UnapprovedAnnotation"
    INVALID = "InvalidAnnotation"
    MISSING = "MissingAnnotation"


def is_protected(definition: Mapping[str, Any]) -> bool:
    """Whether definitions in the group need an approval."""
    return bool(_PROTECTED.search((definition.get("spec") or {}).get("group") or ""))


def approval_of(definition: Mapping[str, Any]) -> tuple[Approval, str]:
    """The state and its text, whatever the group."""
    value = annotations_of(definition).get(ANNOTATION, "")
    if not value:
        return Approval.MISSING, f"{_NEEDED}, {_RULES}"
    if value.startswith("unapproved"):
        return Approval.BYPASSED, f"not approved: {go_quote(value)}"
    if _is_url(value):
        return Approval.APPROVED, f"approved in {value}"
    return Approval.INVALID, f'{_NEEDED} with either a URL or a reason starting with "unapproved", {_RULES}'


def _is_url(value: str) -> bool:
    try:
        address = urlsplit(value)
    except ValueError:
        return False
    return bool(address.scheme and address.netloc)
