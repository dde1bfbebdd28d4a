"""What a pod asks for in total (``component-helpers/resource``): used by limits and quotas.

Containers add up; init containers run one after the other beside the sidecars started before them, so
the largest moment counts; pod-level resources override the sum for the resources they name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.quantities import ZERO, Quantity, parse_quantity

Amounts = dict[str, Quantity]
POD_LEVEL_RESOURCES = ("cpu", "memory")


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """Quantities of a resource list. Texts that are no quantities are left out (validation names them)."""
    found: Amounts = {}
    for name, text in (texts or {}).items():
        try:
            found[name] = parse_quantity(text)
        except ValueError:
            continue
    return found


def container_amounts(container: Mapping[str, Any], side: str) -> Amounts:
    """``side`` is ``requests`` or ``limits``."""
    return amounts((container.get("resources") or {}).get(side))


def pod_amounts(spec: Mapping[str, Any], side: str, *, overhead: bool = False) -> Amounts:
    """The pod's total requests or limits."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, container_amounts(container, side))
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = container_amounts(container, side)
        if container.get("restartPolicy") == "Always":
            _add(total, wanted)
            _add(sidecars, wanted)
            wanted = dict(sidecars)
        else:
            _add(wanted, sidecars)
        _maximum(largest, wanted)
    _maximum(total, largest)
    pod_level = amounts((spec.get("resources") or {}).get(side))
    total |= {name: amount for name, amount in pod_level.items() if is_pod_level(name)}
    if overhead and spec.get("overhead"):
        extra = amounts(spec["overhead"])
        # Overhead raises a limit only where there is one.
        _add(total, extra if side == "requests" else {name: extra[name] for name in extra if name in total})
    return total


def is_pod_level(name: str) -> bool:
    """Whether a pod as a whole may ask for the resource."""
    return name in POD_LEVEL_RESOURCES or name.startswith("hugepages-")


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _maximum(total: Amounts, other: Amounts) -> None:
    for name, amount in other.items():
        if total.get(name, ZERO) < amount or name not in total:
            total[name] = amount
