"""Spreads endpoints over slices so that few slices change; pure (``endpointslice/reconciler.go``).

A slice keeps its entries where it can. Entries that have no slice yet fill slices that change
anyway, then the fullest slice with room, then new slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.components.controllers.endpoints.model import PortKey, slice_ports
from minikube_py.machinery.objects import Object


@dataclass(slots=True)
class SlicePlan:
    """What to write: entries of new slices, (slice, entries) to update, slices to delete."""

    create: list[tuple[PortKey, list[Object]]] = field(default_factory=list)
    update: list[tuple[Object, list[Object]]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def slice_port_key(piece: Object) -> PortKey:
    found = [
        (str(port.get("name") or ""), port.get("protocol") or "TCP", port.get("port"), port.get("appProtocol"))
        for port in piece.get("ports") or ()
    ]
    return tuple(sorted(found, key=lambda entry: (entry[0], entry[1], entry[2] or 0)))


def endpoint_key(entry: Object) -> str:
    """What makes two entries the same endpoint: address and pod."""
    return f"{entry['addresses'][0]}/{(entry.get('targetRef') or {}).get('uid', '')}"


def plan_slices(
    existing: Sequence[Object],
    wanted: Mapping[PortKey, Mapping[str, Object]],
    most: int,
    *,
    placeholder: bool = True,
) -> SlicePlan:
    """Decide for one address type; with ``placeholder`` one empty slice stands for "no endpoints"."""
    plan = SlicePlan()
    by_ports: dict[PortKey, list[Object]] = {}
    for piece in existing:
        by_ports.setdefault(slice_port_key(piece), []).append(piece)
    for ports, entries in wanted.items():
        _plan_ports(plan, ports, by_ports.pop(ports, []), entries, most)
    spare = [piece for pieces in by_ports.values() for piece in pieces]
    if not wanted and placeholder:
        empty = next((piece for piece in spare if not piece.get("endpoints")), None)
        if empty is not None:
            spare = [piece for piece in spare if piece is not empty]
        elif spare:
            kept = spare.pop()
            plan.update.append((kept, []))
        else:
            plan.create.append(((), []))
    plan.delete += spare
    _reuse(plan)
    return plan


def _plan_ports(
    plan: SlicePlan, ports: PortKey, pieces: Sequence[Object], entries: Mapping[str, Object], most: int
) -> None:
    left = dict(entries)
    kept: list[tuple[Object, list[Object], bool]] = []
    for piece in pieces:
        present = piece.get("endpoints") or []
        stay = [left.pop(key) for key in map(endpoint_key, present) if key in left]
        kept.append((piece, stay, stay != present))
    pending = list(left.values())
    changed = [entry for entry in kept if entry[2]]
    for _, stay, _ in changed:
        _fill(stay, pending, most)
    unchanged = [entry for entry in kept if not entry[2]]
    if pending and len(pending) < most:
        # One slice with room takes the rest: one update instead of one more slice to watch.
        room = [entry for entry in unchanged if len(entry[1]) + len(pending) <= most]
        if room:
            fullest = max(room, key=lambda entry: len(entry[1]))
            _fill(fullest[1], pending, most)
            changed.append(fullest)
    for piece, stay, _ in changed:
        if stay:
            plan.update.append((piece, stay))
        else:
            plan.delete.append(piece)
    while pending:
        plan.create.append((ports, pending[:most]))
        pending = pending[most:]


def _fill(stay: list[Object], pending: list[Object], most: int) -> None:
    while pending and len(stay) < most:
        stay.append(pending.pop(0))


def _reuse(plan: SlicePlan) -> None:
    """A slice that would be deleted while another is created carries the new content instead."""
    while plan.create and plan.delete:
        ports, entries = plan.create.pop()
        piece = plan.delete.pop()
        plan.update.append(({**piece, "ports": slice_ports(ports)}, entries))
