"""NamespaceLifecycle: nothing is written into a namespace that does not exist, nothing new into one that ends."""

from __future__ import annotations

from minikube_py.components.apiserver.admission.refusal import refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import ADMIT
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import forbidden, not_found

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle:
    """Same rules and texts as ``plugin/namespace/lifecycle``."""

    name = "NamespaceLifecycle"
    phases = (ADMIT,)

    def __init__(self, namespaces: Lookup) -> None:
        self._namespaces = namespaces

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation is not Operation.CONNECT and (bool(request.namespace) or _is_namespace(request))

    async def admit(self, request: AdmissionRequest) -> None:
        if _is_namespace(request):
            if request.operation is Operation.DELETE and request.name in IMMORTAL:
                raise forbidden("", "namespaces", request.name, "this namespace may not be deleted")
            return
        resource = request.kind.resource
        if request.operation is Operation.DELETE or resource.plural == "localsubjectaccessreviews":
            return
        namespace = await self._namespaces.get(request.namespace)
        if namespace is None:
            raise not_found("", "namespaces", request.namespace)
        if request.operation is not Operation.CREATE:
            return
        if (namespace.get("status") or {}).get("phase") == "Terminating":
            error = refuse(
                request,
                f"unable to create new content in namespace {request.namespace} because it is being terminated",
            )
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {request.namespace} is being terminated",
                "field": "metadata.namespace",
            }
            error.details = {**(error.details or {}), "causes": [cause]}
            raise error

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


def _is_namespace(request: AdmissionRequest) -> bool:
    resource = request.kind.resource
    return resource.plural == "namespaces" and not resource.group
