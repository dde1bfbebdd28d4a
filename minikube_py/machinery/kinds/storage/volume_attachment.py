"""VolumeAttachment: the wish to attach a volume to a node, and whether it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.kind import Cell, Column, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import Errors, subdomain
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.pod_defaults import default_volume_source
from minikube_py.machinery.kinds.common.podspec.volumes import driver_name_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable, keep_metadata
from minikube_py.machinery.kinds.storage.inline_volume import inline_volume_errors
from minikube_py.machinery.names import in_range_error
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.storage.v1.VolumeAttachment"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"


def fill(attachment: Object) -> None:
    """Only the source of a volume within it has defaults."""
    inline = part(part(attachment, "spec"), "source").get("inlineVolumeSpec")
    if inline is not None:
        default_volume_source(inline)


def validate(attachment: Object) -> list[FieldError]:
    """``ValidateVolumeAttachment``, and ``ValidateVolumeAttachmentV1`` for names in it."""
    spec = attachment.get("spec") or {}
    attacher, volume = spec.get("attacher") or "", (spec.get("source") or {}).get("persistentVolumeName")
    errors = _spec_errors(spec)
    if attacher:
        errors += driver_name_errors("spec.attacher", attacher)
    if volume is not None:
        errors += subdomain("spec.source.persistentVolumeName", volume)
    return errors


def _spec_errors(spec: Mapping[str, Any]) -> Errors:
    """``validateVolumeAttachmentSpec``."""
    attacher, source, node = spec.get("attacher") or "", spec.get("source") or {}, spec.get("nodeName") or ""
    errors: Errors = [] if attacher else [required("spec.attacher")]
    volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if volume is None and inline is None:
        text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        errors.append(required("spec.source", text))
    elif volume is not None and inline is not None:
        text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        errors.append(forbidden_field("spec.source", text))
    elif volume is not None and not volume:
        errors.append(required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    elif inline is not None:
        errors += inline_volume_errors("spec.source.inlineVolumeSpec", inline)
    return errors + subdomain("spec.nodeName", node)


def validate_update(attachment: Object, old: Object) -> list[FieldError]:
    """The spec never changes. What is wrong is told twice, as the strategy asks twice."""
    new, before = attachment.get("spec") or {}, old.get("spec") or {}
    errors = 2 * (_spec_errors(new) + _status_errors("status", attachment.get("status") or {}))
    return errors + (immutable("spec", go_object("VolumeAttachmentSpec", new), before) if new != before else [])


_MAX_METADATA_BYTES, _MAX_MESSAGE_BYTES = 256 * 1024, 1024


def _status_errors(path: str, status: Mapping[str, Any]) -> Errors:
    """``validateVolumeAttachmentStatus``. A long message is told the limit of the metadata."""
    errors: Errors = []
    metadata: Mapping[str, str] = status.get("attachmentMetadata") or {}
    if sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items()) > _MAX_METADATA_BYTES:
        errors.append(too_long(f"{path}.attachmentMetadata", _MAX_METADATA_BYTES))
    for field in ("attachError", "detachError"):
        failure = status.get(field) or {}
        if len((failure.get("message") or "").encode()) > _MAX_MESSAGE_BYTES:
            errors.append(too_long(f"{path}.{field}.message", _MAX_METADATA_BYTES))
        code = failure.get("errorCode")
        if code is not None and code < 0:
            errors.append(invalid_value(f"{path}.{field}.errorCode", code, in_range_error(0, 2**31 - 1)))
    return errors


def row(attachment: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(attachment, "spec")
    return (
        name(attachment),
        spec.get("attacher") or "",
        part(spec, "source").get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool(part(attachment, "status").get("attached")),
        age(attachment, now),
    )


KIND = Kind(
    resource=Resource("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", namespaced=False),
    singular="volumeattachment",
    definition=DEFINITION,
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_update,
    has_status=True,
    unconditional_update=False,
    columns=(
        NAME,
        Column("Attacher", "string", "name", described_by=f"{_SPEC}.attacher"),
        column("PV", "io.k8s.api.storage.v1.VolumeAttachmentSource.persistentVolumeName"),
        column("Node", f"{_SPEC}.nodeName"),
        column("Attached", f"{_STATUS}.attached", type="boolean"),
        AGE,
    ),
    row=row,
)
