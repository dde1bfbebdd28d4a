"""ResourceClaim: a request for devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable, keep_metadata
from minikube_py.machinery.kinds.resource.claims import (
    DeviceId,
    claim_spec_errors,
    default_claim_spec,
    device_id,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.resource.v1.ResourceClaim"


def fill(claim: Object) -> None:
    default_claim_spec(child(claim, "spec"))


def validate(claim: Object) -> list[FieldError]:
    return claim_spec_errors("spec", claim.get("spec") or {})


def validate_update(claim: Object, old: Object) -> list[FieldError]:
    """The spec never changes, so nothing else is looked at."""
    new, before = claim.get("spec") or {}, old.get("spec") or {}
    return [] if new == before else immutable("spec", go_object("ResourceClaimSpec", new), before)


def prepare_status(claim: Object, old: Object) -> None:
    """Metadata stays; reports of devices that the claim gave back go with them (``dropDeallocatedStatusDevices``)."""
    keep_metadata(claim, old)
    status = claim.get("status") or {}
    gone = _allocated(old) - _allocated(claim)
    if not gone or not status.get("devices"):
        return
    status["devices"] = [device for device in status["devices"] if device_id(device) not in gone]
    if not status["devices"]:
        del status["devices"]


def _allocated(claim: Object) -> set[DeviceId]:
    return {device_id(result) for result in part(claim, "status", "allocation", "devices").get("results") or ()}


def validate_status(claim: Object, old: Object) -> list[FieldError]:
    from minikube_py.machinery.kinds.resource.claim_status import status_errors

    return status_errors(claim, old)


def row(claim: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(claim), _state_text(claim), age(claim, now))


def _state_text(claim: Mapping[str, Any]) -> str:
    """``resourceClaimState``."""
    status = part(claim, "status")
    words = ["deleted"] if part(claim, "metadata").get("deletionTimestamp") else []
    if status.get("allocation") is None:
        return ",".join(words or ["pending"])
    words += ["allocated", "reserved"] if status.get("reservedFor") else ["allocated"]
    return ",".join(words)


KIND = Kind(
    resource=Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim"),
    singular="resourceclaim",
    definition=DEFINITION,
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=prepare_status,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    has_status=True,
    columns=(
        NAME,
        column("State", text="A summary of the current state (allocated, pending, reserved, etc.)."),
        AGE,
    ),
    row=row,
)
