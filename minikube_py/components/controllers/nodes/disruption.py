"""The DisruptionTarget condition that a pod gets before a controller deletes it."""

from __future__ import annotations

from minikube_py.components.controllers.kit import Kit, write_status
from minikube_py.machinery.conditions import set_condition
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import PODS


async def mark_disrupted(kit: Kit, pod: Object, reason: str, message: str, *, phase: str = "") -> None:
    """Write the condition (and a phase) into the pod's status; a pod that is gone is fine. Raises Conflict."""
    status = thaw(pod.get("status") or {})
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    set_condition(status.setdefault("conditions", []), condition, kit.clock.now())
    if phase:
        status["phase"] = phase
    try:
        await write_status(kit, PODS, pod, status)
    except ApiError as error:
        if not is_not_found(error):
            raise
