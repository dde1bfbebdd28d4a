"""VolumeAttachment: the wish to attach a volume to a node, and whether it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, required
from minikube_py.machinery.kind import Cell, Column, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import Errors, qualified_name, subdomain
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import fresh_status, immutable, keep_metadata, wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.storage.v1.VolumeAttachment"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"


def validate(attachment: Object) -> list[FieldError]:
    """``ValidateVolumeAttachmentV1``."""
    spec = attachment.get("spec") or {}
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
    errors += subdomain("spec.nodeName", node)
    if attacher:
        errors += qualified_name("spec.attacher", attacher.lower())
    return errors


def validate_update(attachment: Object, old: Object) -> list[FieldError]:
    """The spec never changes."""
    new, before = attachment.get("spec") or {}, old.get("spec") or {}
    if new == before:
        return []
    return immutable("spec", go_object("VolumeAttachmentSpec", new), before)


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
    default=wire_form(DEFINITION),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=validate_update,
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
