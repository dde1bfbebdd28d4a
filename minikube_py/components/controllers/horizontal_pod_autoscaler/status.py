"""The status of an autoscaler while it is made anew: its conditions and counts."""

from __future__ import annotations

from minikube_py.machinery.conditions import set_condition
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.times import rfc3339


class Draft:
    """A private copy of an autoscaler's status; ``status`` is what to write."""

    __slots__ = ("_now", "status")

    def __init__(self, autoscaler: Object, now: float) -> None:
        self._now = now
        self.status: Object = thaw(autoscaler.get("status") or {})

    def able(self, status: bool, reason: str, message: str) -> None:
        self._set("AbleToScale", status, reason, message)

    def active(self, status: bool, reason: str, message: str) -> None:
        self._set("ScalingActive", status, reason, message)

    def limited(self, status: bool, reason: str, message: str) -> None:
        self._set("ScalingLimited", status, reason, message)

    def _set(self, type: str, status: bool, reason: str, message: str) -> None:
        conditions = self.status.get("conditions") or []
        given = {"type": type, "status": "True" if status else "False", "reason": reason, "message": message}
        set_condition(conditions, given, self._now)
        self.status["conditions"] = conditions

    def counted(self, current: int, desired: int | None, metrics: list[Object], *, rescaled: bool = False) -> None:
        """Take in the counts; ``desired`` None: it stays what it was."""
        self.status["currentReplicas"] = current
        if not current:
            del self.status["currentReplicas"]
        self.status["desiredReplicas"] = self.status.get("desiredReplicas", 0) if desired is None else desired
        self.status["currentMetrics"] = metrics or None
        if rescaled:
            self.status["lastScaleTime"] = rfc3339(self._now)
