"""For which audiences a kubelet may request tokens: those that the pod's own volumes are for.

That is the audience of a projected token, or one that the CSI driver of a volume (inline, by claim or by
ephemeral claim) asks for in its CSIDriver. For others the node needs the verb
``request-serviceaccounts-token-audience`` on the audience as the resource and the service account as its
name. Same rules and texts as ServiceAccountNodeAudienceRestriction in ``plugin/pkg/admission/noderestriction``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from minikube_py.components.apiserver.admission.refusal import refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Attributes, Authorizer, Decision
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.resources import Resource

CSI_DRIVERS = Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", namespaced=False)
VERB = "request-serviceaccounts-token-audience"


class TokenAudiences:
    """Checks the audience of a node's TokenRequest."""

    def __init__(self, claims: Lookup, volumes: Lookup, drivers: Lookup, authorizer: Authorizer) -> None:
        self._claims = claims
        self._volumes = volumes
        self._drivers = drivers
        self._authorizer = authorizer

    async def check(self, request: AdmissionRequest, pod: Object) -> None:
        """Raise ApiError(403) unless the node may have a token for this audience. ``pod`` is the bound one."""
        audiences = ((request.object or {}).get("spec") or {}).get("audiences") or []
        if len(audiences) > 1:
            raise refuse(request, "node may only request 0 or 1 audiences")
        audience = str(audiences[0]) if audiences else ""
        if await self._is_used_by(pod, audience) or await self._is_granted(request, audience):
            return
        raise refuse(
            request,
            f"audience {go_quote(audience)} not found in pod spec volume, {request.user.name} is not authorized to "
            "request tokens for this audience",
        )

    async def _is_used_by(self, pod: Object, audience: str) -> bool:
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        for volume in volumes:
            for source in (volume.get("projected") or {}).get("sources") or ():
                token = source.get("serviceAccountToken")
                if token is not None and (token.get("audience") or "") == audience:
                    return True
        async for driver_name in self._drivers_of(pod):
            driver = await self._drivers.get(driver_name)
            wanted = ((driver or {}).get("spec") or {}).get("tokenRequests") or ()
            if any((item.get("audience") or "") == audience for item in wanted):
                return True
        return False

    async def _drivers_of(self, pod: Object) -> AsyncIterator[str]:
        """The CSI drivers of the pod's volumes."""
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            claim_name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if volume.get("ephemeral"):
                claim_name = f"{name_of(pod)}-{volume.get('name')}"
            if claim_name:
                driver = await self._driver_of_claim(claim_name, namespace_of(pod))
            else:
                driver = (volume.get("csi") or {}).get("driver") or ""
            if driver:
                yield driver

    async def _driver_of_claim(self, name: str, namespace: str) -> str:
        claim = await self._claims.get(name, namespace)
        volume_name = ((claim or {}).get("spec") or {}).get("volumeName")
        volume = await self._volumes.get(volume_name) if volume_name else None
        return str((((volume or {}).get("spec") or {}).get("csi") or {}).get("driver") or "")

    async def _is_granted(self, request: AdmissionRequest, audience: str) -> bool:
        attributes = Attributes(
            verb=VERB,
            path="",
            resource_request=True,
            version="v1",
            resource=audience,
            namespace=request.namespace,
            name=request.name,
        )
        decision, _ = await self._authorizer.authorize(request.user, attributes)
        return decision is Decision.ALLOW
