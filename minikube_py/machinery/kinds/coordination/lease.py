"""Lease: who holds something, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import qualified_name
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.objects import Object, namespace_of
from minikube_py.machinery.resources import LEASES

DEFINITION = "io.k8s.api.coordination.v1.Lease"
NODE_LEASES = "kube-node-lease"
"""The namespace in which nodes renew theirs, every ten seconds each."""


def drop_election_fields(lease: Object) -> None:
    """Fields of coordinated leader election, a feature that is off by default."""
    for field in ("strategy", "preferredHolder"):
        (lease.get("spec") or {}).pop(field, None)


def validate(lease: Object) -> list[FieldError]:
    """``ValidateLeaseSpec``."""
    spec = lease.get("spec") or {}
    seconds, transitions, strategy = (
        spec.get("leaseDurationSeconds"), spec.get("leaseTransitions"), spec.get("strategy")
    )  # fmt: skip
    errors: list[FieldError] = []
    if seconds is not None and seconds <= 0:
        errors.append(invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(invalid_value("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    if strategy is not None:
        errors += qualified_name("spec.strategy", strategy)
    if spec.get("preferredHolder") and not strategy:
        text = "may only be specified if `strategy` is defined"
        errors.append(forbidden_field("spec.preferredHolder", text))
    return errors


def row(lease: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(lease), part(lease, "spec").get("holderIdentity") or "", age(lease, now))


def is_heartbeat(lease: Object) -> bool:
    """Whether it is a node's. Whoever else holds a lease must find it again after a power cut."""
    return namespace_of(lease) == NODE_LEASES


KIND = Kind(
    resource=LEASES,
    singular="lease",
    definition=DEFINITION,
    default=wire_form(DEFINITION),
    prepare_create=drop_election_fields,
    prepare_update=lambda lease, old: drop_election_fields(lease),
    validate=validate,
    validate_update=lambda new, old: validate(new),
    create_on_update=True,
    unconditional_update=False,
    volatile=is_heartbeat,
    columns=(NAME, column("Holder", f"{DEFINITION}Spec.holderIdentity"), AGE),
    row=row,
)
