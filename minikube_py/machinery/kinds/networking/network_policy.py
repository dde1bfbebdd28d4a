"""NetworkPolicy: which traffic pods accept and send."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    cidr_errors,
    cidr_warnings,
    label_selector_errors,
    not_supported_in_order,
    one_of_in_order,
    parse_cidr,
    port_number,
    port_number_or_name,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part, selector_text
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NETWORK_POLICIES

DEFINITION = "io.k8s.api.networking.v1.NetworkPolicy"


_PEERS = (("ingress", "from"), ("egress", "to"))


def fill(policy: Object) -> None:
    """Ingress is always restricted; egress when there are rules for it. Ports are TCP."""
    spec = child(policy, "spec")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in items(spec, direction):
            for port in items(rule, "ports"):
                set_default(port, protocol="TCP")


def validate(policy: Object) -> list[FieldError]:
    """``ValidateNetworkPolicySpec``."""
    return _spec_errors(policy.get("spec") or {}, frozenset())


def validate_update(policy: Object, old: Object) -> list[FieldError]:
    """``networkPolicyStrategy.ValidateUpdate`` checks the spec twice; ranges that were there may stay as they are."""
    stored: set[str] = set()
    for _, block in _blocks(old.get("spec") or {}):
        stored.update((block.get("cidr") or "", *(block.get("except") or ())))
    return 2 * _spec_errors(policy.get("spec") or {}, stored)


def _blocks(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All blocks of addresses with their paths."""
    for direction, peers in _PEERS:
        for index, rule in enumerate(spec.get(direction) or ()):
            for number, peer in enumerate(rule.get(peers) or ()):
                if peer.get("ipBlock") is not None:
                    yield f"spec.{direction}[{index}].{peers}[{number}].ipBlock", peer["ipBlock"]


def _spec_errors(spec: Mapping[str, Any], stored: Container[str]) -> list[FieldError]:
    errors = label_selector_errors("spec.podSelector", spec.get("podSelector"))
    for direction, peers in _PEERS:
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                errors += _port_errors(f"{path}.ports[{number}]", port)
            for number, peer in enumerate(rule.get(peers) or ()):
                errors += _peer_errors(f"{path}.{peers}[{number}]", peer, stored)
    kinds: Sequence[str] = spec.get("policyTypes") or ()
    if len(kinds) > 2:
        text = "may not specify more than two policyTypes"
        return [*errors, invalid_value("spec.policyTypes", list(kinds), text)]
    for index, kind in enumerate(kinds):
        if kind not in ("Ingress", "Egress"):
            errors.append(not_supported_in_order(f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress")))
    return errors


def _port_errors(path: str, port: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    if port.get("protocol") is not None:
        errors += one_of_in_order(f"{path}.protocol", port["protocol"], ("TCP", "UDP", "SCTP"))
    number, end = port.get("port"), port.get("endPort")
    field = f"{path}.endPort"
    if isinstance(number, str):
        if end is not None:
            errors.append(invalid_value(field, end, "may not be specified when `port` is non-numeric"))
        return errors + port_number_or_name(f"{path}.port", number)
    if number is not None:
        errors += port_number_or_name(f"{path}.port", number)
        if end is not None:
            if end < number:  # the refusal shows the port, not its end
                errors.append(invalid_value(field, number, "must be greater than or equal to `port`"))
            errors += port_number(field, end)
    elif end is not None:
        errors.append(invalid_value(field, end, "may not be specified when `port` is not specified"))
    return errors


def _peer_errors(path: str, peer: Mapping[str, Any], stored: Container[str]) -> Errors:
    errors: Errors = []
    given = 0
    for field in ("podSelector", "namespaceSelector"):
        if peer.get(field) is not None:
            given += 1
            errors += label_selector_errors(f"{path}.{field}", peer[field])
    block = peer.get("ipBlock")
    if block is not None:
        given += 1
        errors += _block_errors(f"{path}.ipBlock", block, stored)
    if not given:
        errors.append(required(path, "must specify a peer"))
    elif given > 1 and block is not None:
        errors.append(forbidden_field(path, "may not specify both ipBlock and another peer"))
    return errors


def _block_errors(path: str, block: Mapping[str, Any], stored: Container[str]) -> Errors:
    cidr = block.get("cidr") or ""
    if not cidr:
        return [required(f"{path}.cidr")]
    errors = cidr_errors(f"{path}.cidr", cidr, stored)
    outer = parse_cidr(cidr)
    if outer is None:
        return errors
    for index, value in enumerate(block.get("except") or ()):
        field = f"{path}.except[{index}]"
        errors += cidr_errors(field, value, stored)
        inner = parse_cidr(value)
        if inner is None:
            continue
        inside = inner.version == outer.version and inner.network_address in outer
        if not inside or inner.prefixlen <= outer.prefixlen:
            errors.append(invalid_value(field, value, "must be a strict subset of `cidr`"))
    return errors


def warnings(policy: Object, old: Object | None) -> list[str]:
    """Ranges of addresses that are written oddly."""
    found = []
    for path, block in _blocks(policy.get("spec") or {}):
        found += cidr_warnings(f"{path}.cidr", block.get("cidr") or "")
        for place, value in enumerate(block.get("except") or ()):
            found += cidr_warnings(f"{path}.except[{place}]", value)
    return found


def row(policy: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(policy), selector_text(part(policy, "spec").get("podSelector")), age(policy, now))


KIND = Kind(
    resource=NETWORK_POLICIES,
    singular="networkpolicy",
    definition=DEFINITION,
    short_names=("netpol",),
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    generation=True,
    columns=(NAME, column("Pod-Selector", f"{DEFINITION}Spec.podSelector"), AGE),
    row=row,
)
