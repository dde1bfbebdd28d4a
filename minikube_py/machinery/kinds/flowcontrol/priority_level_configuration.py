"""PriorityLevelConfiguration: how many requests of a level run at once, and how the others wait."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import Errors, one_of
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, keep_metadata
from minikube_py.machinery.kinds.flowcontrol.mandatory import level_errors, status_errors
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration"
_LIMITED = "io.k8s.api.flowcontrol.v1.LimitedPriorityLevelConfiguration"
_QUEUING = "io.k8s.api.flowcontrol.v1.QueuingConfiguration"
_SHARES = 30
_MAX_QUEUES = 10_000_000
_MAX_HASH_BITS = 60
"""What shuffle sharding can take from one hash: dealing a hand takes ``handSize * log2(queues)`` bits."""


def fill(level: Object) -> None:
    """``SetDefaults_LimitedPriorityLevelConfiguration`` and its kin."""
    spec = child(level, "spec")
    if spec.get("exempt") is not None:
        set_default(spec["exempt"], nominalConcurrencyShares=0, lendablePercent=0)
    limited = spec.get("limited")
    if limited is None:
        return
    set_default(limited, nominalConcurrencyShares=_SHARES, lendablePercent=0)
    queuing = (limited.get("limitResponse") or {}).get("queuing")
    if queuing is not None:
        set_default(queuing, handSize=8, queues=64, queueLengthLimit=50)


def validate(level: Object) -> list[FieldError]:
    """``ValidatePriorityLevelConfiguration``."""
    spec = level.get("spec") or {}
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    errors: Errors = []
    if (name_of(level) == "exempt") != (kind == "Exempt"):
        text = "type must be 'Exempt' if and only if name is 'exempt'"
        errors.append(invalid_value("spec.type", kind, text))
    if kind == "Exempt":
        if limited is not None:
            errors.append(forbidden_field("spec.limited", "must be nil if the type is not Limited"))
        errors += _share_errors("spec.exempt", exempt or {}) + _percent_errors("spec.exempt", exempt or {})
    elif kind == "Limited":
        if exempt is not None:
            errors.append(forbidden_field("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            errors.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            errors += _limited_errors("spec.limited", limited)
    else:
        errors += one_of("spec.type", kind, ("Exempt", "Limited"))
    return errors + level_errors(level) + status_errors(level)


def _share_errors(path: str, limits: Mapping[str, Any]) -> Errors:
    shares = limits.get("nominalConcurrencyShares")
    if shares is None or shares >= 0:
        return []
    return [invalid_value(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")]


def _percent_errors(path: str, limits: Mapping[str, Any]) -> Errors:
    percent = limits.get("lendablePercent")
    if percent is None or 0 <= percent <= 100:
        return []
    return [invalid_value(f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive")]


def _limited_errors(path: str, limited: Mapping[str, Any]) -> Errors:
    errors = _share_errors(path, limited)
    errors += _response_errors(f"{path}.limitResponse", limited.get("limitResponse") or {})
    errors += _percent_errors(path, limited)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        text = "if specified, must be a non-negative integer"
        errors.append(invalid_value(f"{path}.borrowingLimitPercent", borrowing, text))
    return errors


def _response_errors(field: str, response: Mapping[str, Any]) -> Errors:
    kind, queuing = response.get("type") or "", response.get("queuing")
    errors: Errors = []
    if kind == "Reject":
        if queuing is not None:
            text = "must be nil if limited.limitResponse.type is not Limited"
            errors.append(forbidden_field(f"{field}.queuing", text))
    elif kind == "Queue":
        if queuing is None:
            text = "must not be empty if limited.limitResponse.type is Limited"
            errors.append(required(f"{field}.queuing", text))
        else:
            errors += _queuing_errors(f"{field}.queuing", queuing)
    else:
        errors += one_of(f"{field}.type", kind, ("Queue", "Reject"))
    return errors


def _queuing_errors(path: str, queuing: Mapping[str, Any]) -> Errors:
    queues, hand, length = (queuing.get(field) or 0 for field in ("queues", "handSize", "queueLengthLimit"))
    errors: Errors = []
    if length <= 0:
        errors.append(invalid_value(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(invalid_value(f"{path}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        errors.append(invalid_value(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        errors.append(invalid_value(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        errors.append(invalid_value(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _MAX_HASH_BITS:
        text = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than "
            f"{_MAX_HASH_BITS}"
        )
        errors.append(invalid_value(f"{path}.handSize", hand, text))
    return errors


def row(level: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(level, "spec")
    limits = spec.get("limited")
    queuing = part(spec, "limited", "limitResponse").get("queuing")
    shares: Cell = "<none>" if limits is None else limits.get("nominalConcurrencyShares", 0)
    numbers = (
        [queuing.get(field, 0) for field in ("queues", "handSize", "queueLengthLimit")] if queuing else (["<none>"] * 3)
    )
    return (name(level), spec.get("type") or "", shares, *numbers, age(level, now))


KIND = Kind(
    resource=Resource(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        namespaced=False,
    ),
    singular="prioritylevelconfiguration",
    definition=DEFINITION,
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=lambda new, old: validate(new),
    validate_status=lambda new, old: status_errors(new),
    generation=True,
    has_status=True,
    columns=(
        NAME,
        column("Type", f"{DEFINITION}Spec.type"),
        column("NominalConcurrencyShares", f"{_LIMITED}.nominalConcurrencyShares"),
        column("Queues", f"{_QUEUING}.queues"),
        column("HandSize", f"{_QUEUING}.handSize"),
        column("QueueLengthLimit", f"{_QUEUING}.queueLengthLimit"),
        AGE,
    ),
    row=row,
)
