"""What the loops that approve certificate requests have in common; they differ in what they approve, and as whom.

Kubelets' client certificates are approved under kube-controller-manager's account for certificates, whose role names
that signer alone; serving certificates, which Kubernetes leaves to the distribution, are not.
"""

from __future__ import annotations

from minikube_py.components.controllers.certificates.requests import condition_of
from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS


def is_pending(request: Object) -> bool:
    """Whether nobody has decided on a request yet."""
    if (request.get("status") or {}).get("certificate"):
        return False
    return condition_of(request, "Approved") is None and condition_of(request, "Denied") is None


def approved(message: str) -> Object:
    """The condition of an approval."""
    return {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}


async def decide(kit: Kit, request: Object, condition: Object) -> None:
    """Write the decision. Raises ApiError."""
    draft = thaw(request)
    draft.setdefault("status", {}).setdefault("conditions", []).append(condition)
    await kit.client.update(CERTIFICATE_SIGNING_REQUESTS, draft, subresource="approval", options=WRITE)
