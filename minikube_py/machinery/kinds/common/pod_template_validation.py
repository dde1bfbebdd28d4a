"""Validation of pod templates inside other kinds (``ValidatePodTemplateSpec``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field
from minikube_py.machinery.kinds.common.metadata import annotation_errors, label_errors
from minikube_py.machinery.kinds.common.podspec.annotations import pod_annotation_errors
from minikube_py.machinery.kinds.common.podspec.profiles import profile_errors
from minikube_py.machinery.kinds.common.podspec.spec import pod_spec_errors


def template_metadata_errors(path: str, template: Mapping[str, Any]) -> list[FieldError]:
    """Errors of its labels and annotations, which are reported beside ``metadata``, as upstream."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    errors = label_errors(f"{path}.labels", meta.get("labels"))
    errors += annotation_errors(f"{path}.annotations", meta.get("annotations"))
    errors += pod_annotation_errors(f"{path}.annotations", meta.get("annotations") or {}, spec)
    return errors


def pod_template_errors(
    path: str, template: Mapping[str, Any], old: Mapping[str, Any] | None = None
) -> list[FieldError]:
    """Errors of a template at this path."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    errors = template_metadata_errors(path, template)
    errors += pod_spec_errors(f"{path}.spec", spec)
    errors += profile_errors(f"{path}.spec", meta.get("annotations") or {}, spec)
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        errors.append(forbidden_field(f"{path}.spec.ephemeralContainers", text))
    return errors
