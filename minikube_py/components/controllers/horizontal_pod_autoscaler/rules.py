"""From the replicas that metrics ask for to those that are set: limits, stabilisation windows, policies.

``History`` is what the loop remembers of one autoscaler: recent recommendations and changes. It begins anew with the
process, as in Kubernetes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings

_ACCEPTABLE = ("DesiredWithinRange", "the desired count is within the acceptable range")
_UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_READY = ("ReadyForNewScale", "recommended size matches current size")
_WERE_HIGHER = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_WERE_LOWER = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)

Told = tuple[str, str]
"""Reason and message of a condition."""
Moments = list[tuple[float, int]]
"""(Unix seconds, replicas), oldest first."""


@dataclass(slots=True)
class History:
    """Written by the loop alone: recommendations, and by how much was scaled up and down.

    ``downscale_window`` is that of ``--horizontal-pod-autoscaler-downscale-stabilization``, in seconds.
    """

    recommendations: Moments = field(default_factory=list)
    ups: Moments = field(default_factory=list)
    downs: Moments = field(default_factory=list)
    downscale_window: float = AutoscalerSettings().downscale_stabilization_seconds

    def recommended(self, replicas: int, now: float, keep_seconds: float) -> None:
        """Add a recommendation; drop those that no window reaches any more."""
        self.recommendations = [*_since(self.recommendations, now - keep_seconds), (now, replicas)]

    def changed(self, before: int, after: int, behavior: Mapping[str, Any] | None, now: float) -> None:
        """Remember a change for the policies of a behavior."""
        if behavior is None:
            return
        if after > before:
            self.ups = [*_since(self.ups, now - _longest_period(behavior["scaleUp"])), (now, after - before)]
        else:
            self.downs = [*_since(self.downs, now - _longest_period(behavior["scaleDown"])), (now, before - after)]


def _since(moments: Moments, cutoff: float) -> Moments:
    return [entry for entry in moments if entry[0] >= cutoff]


def _longest_period(rules: Mapping[str, Any]) -> int:
    return max((policy["periodSeconds"] for policy in rules.get("policies") or ()), default=0)


@dataclass(frozen=True, slots=True)
class Decision:
    """The replicas to set, and what the conditions AbleToScale and ScalingLimited say of it."""

    replicas: int
    able: Told
    limited: bool
    limit: Told


def decide(
    history: History, current: int, wanted: int, low: int, high: int, behavior: Mapping[str, Any] | None, now: float
) -> Decision:
    """Keep a wanted number within all rules; the recommendation is added to the history."""
    if behavior is None:
        stable, able = _highest_recent(history, wanted, now)
        replicas, limit = _within_limits(current, stable, low, high)
    else:
        stable, able = _stabilized(history, current, wanted, behavior, now)
        replicas, limit = _within_rates(history, current, stable, low, high, behavior, now)
    return Decision(replicas, able if stable != wanted else _READY, replicas != stable, limit)


def _highest_recent(history: History, wanted: int, now: float) -> tuple[int, Told]:
    recent = _since(history.recommendations, now - history.downscale_window)
    history.recommended(wanted, now, history.downscale_window)
    return max([wanted, *(replicas for _, replicas in recent)]), _WERE_HIGHER


def _stabilized(
    history: History, current: int, wanted: int, behavior: Mapping[str, Any], now: float
) -> tuple[int, Told]:
    """The nearest to the present number that lies between the recent lowest and highest recommendations."""
    up, down = _window(behavior["scaleUp"], 0), _window(behavior["scaleDown"], history.downscale_window)
    lowest = min([wanted, *(replicas for moment, replicas in history.recommendations if moment > now - up)])
    highest = max([wanted, *(replicas for moment, replicas in history.recommendations if moment > now - down)])
    history.recommended(wanted, now, max(up, down))
    return min(max(current, lowest), highest), _WERE_LOWER if wanted >= current else _WERE_HIGHER


def _window(rules: Mapping[str, Any], usual: float) -> float:
    found = rules.get("stabilizationWindowSeconds")
    return usual if found is None else float(found)


def _within_limits(current: int, wanted: int, low: int, high: int) -> tuple[int, Told]:
    """Without a behavior: the limits, and not more than twice as many at once (four at least)."""
    fastest = max(2 * current, 4)
    most, limit = (fastest, _UP_LIMIT) if high > fastest else (high, _TOO_MANY)
    if wanted < low:
        return low, _TOO_FEW
    return (most, limit) if wanted > most else (wanted, _ACCEPTABLE)


def _within_rates(
    history: History, current: int, wanted: int, low: int, high: int, behavior: Mapping[str, Any], now: float
) -> tuple[int, Told]:
    """With a behavior: the limits, and what its policies allow in their periods."""
    if wanted > current:
        fastest = max(current, _highest_allowed(history, current, behavior["scaleUp"], now))
        most, limit = (fastest, _UP_LIMIT) if high > fastest else (high, _TOO_MANY)
        return (most, limit) if wanted > most else (wanted, _ACCEPTABLE)
    if wanted < current:
        slowest = min(current, _lowest_allowed(history, current, behavior["scaleDown"], now))
        least, limit = (slowest, _DOWN_LIMIT) if low < slowest else (low, _TOO_FEW)
        return (least, limit) if wanted < least else (wanted, _ACCEPTABLE)
    return wanted, _ACCEPTABLE


def _highest_allowed(history: History, current: int, rules: Mapping[str, Any], now: float) -> int:
    """The most that policies of scaling up allow now; a percentage is rounded up, or one would stay one."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    proposed = []
    for policy in rules.get("policies") or ():
        start = _at_start(history, current, policy["periodSeconds"], now)
        if policy["type"] == "Pods":
            proposed.append(start + policy["value"])
        else:
            proposed.append(math.ceil(start * (1 + policy["value"] / 100)))
    return _selected(proposed, min if rules.get("selectPolicy") == "Min" else max, current)


def _lowest_allowed(history: History, current: int, rules: Mapping[str, Any], now: float) -> int:
    """The least that policies of scaling down allow now."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    proposed = []
    for policy in rules.get("policies") or ():
        start = _at_start(history, current, policy["periodSeconds"], now)
        if policy["type"] == "Pods":
            proposed.append(start - policy["value"])
        else:
            proposed.append(int(start * (1 - policy["value"] / 100)))
    return _selected(proposed, max if rules.get("selectPolicy") == "Min" else min, current)


def _selected(proposed: list[int], select: Any, current: int) -> int:
    return int(select(proposed)) if proposed else current


def _at_start(history: History, current: int, period: int, now: float) -> int:
    """The replicas when a period began."""
    return current - _change(history.ups, now - period) + _change(history.downs, now - period)


def _change(moments: Iterable[tuple[float, int]], cutoff: float) -> int:
    return sum(change for moment, change in moments if moment > cutoff)
