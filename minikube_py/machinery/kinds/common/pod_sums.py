"""What the containers of a pod need together (``AggregateContainerRequests`` and ``AggregateContainerLimits``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.quantities import Quantity, parse_quantity


def containers_need(spec: Mapping[str, Any], sort: str) -> dict[str, Quantity]:
    """Amounts by resource; ``sort`` is ``requests`` or ``limits``.

    Regular containers and sidecars add up. Init containers run one by one, each with the sidecars before it;
    the one that needs most may need more than all that run later.
    """
    sums: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    peaks: dict[str, int] = {}
    notations: dict[str, str] = {}
    for container in spec.get("containers") or ():
        _add(sums, _amounts(container, sort, notations))
    for container in spec.get("initContainers") or ():
        own = _amounts(container, sort, notations)
        if container.get("restartPolicy") == "Always":
            _add(sums, own)
            _add(sidecars, own)
            own = sidecars
        else:
            own = {name: own.get(name, 0) + sidecars.get(name, 0) for name in {*own, *sidecars}}
        for name, nano in own.items():
            peaks[name] = max(peaks.get(name, 0), nano)
    return {name: Quantity(max(sums.get(name, 0), peaks.get(name, 0)), notations[name]) for name in {*sums, *peaks}}


def _amounts(container: Mapping[str, Any], sort: str, notations: dict[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, text in ((container.get("resources") or {}).get(sort) or {}).items():
        amount = parse_quantity(text)
        notations.setdefault(name, amount.notation)
        found[name] = amount.nano
    return found


def _add(sums: dict[str, int], amounts: Mapping[str, int]) -> None:
    for name, nano in amounts.items():
        sums[name] = sums.get(name, 0) + nano
