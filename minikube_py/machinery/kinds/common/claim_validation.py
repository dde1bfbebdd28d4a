"""Validation of PersistentVolumeClaim specs, also inside templates (``ValidatePersistentVolumeClaimSpec``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label,
    label_selector_errors,
    one_of,
    positive_quantity,
    subdomain,
)
from minikube_py.machinery.kinds.common.metadata import annotation_errors, label_errors
from minikube_py.machinery.quantities import parse_quantity

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")

BETA_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
BETA_CLASS_TEXT = 'deprecated since v1.8; use "storageClassName" attribute instead'


def claim_spec_warnings(path: str, spec: Mapping[str, Any]) -> list[str]:
    """``GetWarningsForPersistentVolumeClaimSpec``: bytes are whole."""
    found = []
    for field in ("requests", "limits"):
        amount = ((spec.get("resources") or {}).get(field) or {}).get("storage")
        if amount is not None and parse_quantity(amount).milli() % 1000:
            where = f"{path}.resources.{field}[storage]"
            found.append(f'{where}: fractional byte value "{amount}" is invalid, must be an integer')
    return found


def access_mode_errors(path: str, modes: Sequence[str]) -> Errors:
    """Each mode is known, and ReadWriteOncePod is alone among the known ones."""
    errors: Errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        errors.append(forbidden_field(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def claim_spec_errors(path: str, spec: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Errors:
    """The errors of a claim's spec; an update of one with API groups may keep odd ones."""
    modes: Sequence[str] = spec.get("accessModes") or ()
    errors: Errors = []
    if not modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    errors += label_selector_errors(f"{path}.selector", spec.get("selector"))
    errors += access_mode_errors(f"{path}.accessModes", modes)
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        errors.append(required(f"{path}.resources[storage]"))
    else:
        errors += positive_quantity(f"{path}.resources[storage]", requests["storage"])
    if spec.get("storageClassName"):
        errors += subdomain(f"{path}.storageClassName", spec["storageClassName"])
    if spec.get("volumeMode") is not None:
        errors += one_of(f"{path}.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    errors += _source_errors(path, spec, lenient=_has_group(before or {}))
    if spec.get("volumeAttributesClassName"):
        errors += subdomain(f"{path}.volumeAttributesClassName", spec["volumeAttributesClassName"])
    return errors


def _has_group(spec: Mapping[str, Any]) -> bool:
    return any((spec.get(field) or {}).get("apiGroup") is not None for field in ("dataSource", "dataSourceRef"))


def _source_errors(path: str, spec: Mapping[str, Any], *, lenient: bool) -> Errors:
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
            text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            errors.append(invalid_value(f"{path}.{field}", kind, text))
        if group and not lenient:
            errors += subdomain(f"{path}.{field}.apiGroup", group)
        if field == "dataSourceRef" and found.get("namespace"):
            errors += label(f"{path}.{field}.namespace", found["namespace"])
    if source is None or reference is None:
        return errors
    if reference.get("namespace"):
        text = "may not be specified when dataSourceRef.namespace is specified"
        errors.append(invalid_value(path, f"{path}.dataSource", text))
    elif any(source.get(key) != reference.get(key) for key in ("apiGroup", "kind", "name")):
        errors.append(invalid_value(path, f"{path}.dataSource", "must match dataSourceRef"))
    return errors


_NOT_IN_TEMPLATES = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip
"""Metadata that only an object has, in the order of Go's structure."""


def template_metadata_errors(path: str, meta: Mapping[str, Any]) -> Errors:
    """Nothing but labels and annotations is set; Kubernetes calls the field ``uID``, after its Go name."""
    return [
        forbidden_field(f"{path}.{'uID' if name == 'uid' else name}", "cannot be set")
        for name in _NOT_IN_TEMPLATES
        if meta.get(name)
    ]


def claim_template_errors(path: str, template: Mapping[str, Any]) -> list[FieldError]:
    """A template of an ephemeral volume: its metadata may only carry labels and annotations."""
    meta = template.get("metadata") or {}
    errors = annotation_errors(f"{path}.metadata.annotations", meta.get("annotations"))
    errors += label_errors(f"{path}.metadata.labels", meta.get("labels"))
    errors += template_metadata_errors(f"{path}.metadata", meta)
    return errors + claim_spec_errors(f"{path}.spec", template.get("spec") or {})
