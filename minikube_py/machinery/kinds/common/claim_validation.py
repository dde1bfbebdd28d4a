"""Validation of PersistentVolumeClaim specs, also inside templates (``ValidatePersistentVolumeClaimSpec``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label_selector_errors,
    one_of,
    positive_quantity,
    subdomain,
)
from minikube_py.machinery.kinds.common.metadata import annotation_errors, label_errors

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def access_mode_errors(path: str, modes: Sequence[str], empty_text: str) -> Errors:
    """At least one mode, each known, ReadWriteOncePod alone."""
    if not modes:
        return [required(path, empty_text)]
    errors: Errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(mode != "ReadWriteOncePod" for mode in modes):
        errors.append(forbidden_field(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def claim_spec_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """The errors of a claim's spec."""
    modes: Sequence[str] = spec.get("accessModes") or ()
    errors = access_mode_errors(f"{path}.accessModes", modes, "at least 1 access mode is required")
    errors += label_selector_errors(f"{path}.selector", spec.get("selector"))
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        errors.append(required(f"{path}.resources[storage]"))
    else:
        errors += positive_quantity(f"{path}.resources[storage]", requests["storage"])
    if spec.get("storageClassName"):
        errors += subdomain(f"{path}.storageClassName", spec["storageClassName"])
    if spec.get("volumeMode") is not None:
        errors += one_of(f"{path}.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    errors += _source_errors(path, spec)
    if spec.get("volumeAttributesClassName"):
        errors += subdomain(f"{path}.volumeAttributesClassName", spec["volumeAttributesClassName"])
    return errors


def _source_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for field, found in (("dataSource", source), ("dataSourceRef", reference)):
        if found is None:
            continue
        for name in ("name", "kind"):
            if not found.get(name):
                errors.append(required(f"{path}.{field}.{name}"))
        group, kind = found.get("apiGroup") or "", found.get("kind") or ""
        if not group and kind != "PersistentVolumeClaim":
            errors.append(invalid_value(f"{path}.{field}", kind, ""))
    if source is not None and reference is not None and not reference.get("namespace"):
        mirrored = {key: value for key, value in reference.items() if key != "namespace"}
        errors += [] if dict(source) == mirrored else [invalid_value(path, path, "must match dataSourceRef")]
    return errors


def claim_template_errors(path: str, template: Mapping[str, Any]) -> list[FieldError]:
    """A template of an ephemeral volume: its metadata may only carry labels and annotations."""
    meta = template.get("metadata") or {}
    errors = annotation_errors(f"{path}.metadata.annotations", meta.get("annotations"))
    errors += label_errors(f"{path}.metadata.labels", meta.get("labels"))
    return errors + claim_spec_errors(f"{path}.spec", template.get("spec") or {})
