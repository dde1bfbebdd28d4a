"""Small plugins about storage and ingress: DefaultStorageClass, StorageObjectInUseProtection,
PersistentVolumeClaimResize, DefaultIngressClass and DenyServiceExternalIPs.

Same rules and texts as their namesakes under ``plugin/pkg/admission``.
"""

from __future__ import annotations

from collections.abc import Iterable

from minikube_py.components.apiserver.admission.refusal import draft_spec, is_for, refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.objects import Object, annotations_of, metadata, name_of
from minikube_py.machinery.pod_resources import amounts
from minikube_py.machinery.quantities import ZERO, Quantity
from minikube_py.machinery.resources import (
    INGRESSES,
    PERSISTENT_VOLUME_CLAIMS,
    SERVICES,
)
from minikube_py.machinery.volume_binding import default_class

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
INGRESS_CLASS = "kubernetes.io/ingress.class"
DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"
_PROTECTION = {
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


def _newest(candidates: Iterable[Object]) -> Object | None:
    """The one made last, by name where times are equal: with several defaults the newest counts."""
    ordered = sorted(candidates, key=name_of)
    return max(ordered, key=lambda item: str(metadata(item).get("creationTimestamp", "")), default=None)


class DefaultStorageClass:
    """Claims without a class get the default one."""

    name = "DefaultStorageClass"
    handles_by_kind = True

    def __init__(self, storage_classes: Lookup) -> None:
        self._classes = storage_classes

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PERSISTENT_VOLUME_CLAIMS, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        claim = request.object
        if claim is None or BETA_CLASS in annotations_of(claim):
            return
        spec = draft_spec(claim)
        if spec.get("storageClassName") is not None:
            return
        default = default_class(await self._classes.list())
        if default is not None:
            spec["storageClassName"] = name_of(default)

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


class StorageObjectInUseProtection:
    """Volumes and claims get a finalizer, so that they outlive their users."""

    name = "StorageObjectInUseProtection"
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.kind.resource
        return (
            request.operation is Operation.CREATE
            and not request.subresource
            and (resource.group, resource.plural) in _PROTECTION
        )

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        resource = request.kind.resource
        finalizer = _PROTECTION[resource.group, resource.plural]
        meta = request.object.setdefault("metadata", {})
        finalizers = meta.get("finalizers") or []
        if finalizer not in finalizers:
            meta["finalizers"] = [*finalizers, finalizer]

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


class PersistentVolumeClaimResize:
    """A claim grows only where its class allows it."""

    name = "PersistentVolumeClaimResize"
    handles_by_kind = True

    def __init__(self, storage_classes: Lookup) -> None:
        self._classes = storage_classes

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PERSISTENT_VOLUME_CLAIMS, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.object, request.old
        if new is None or old is None or _size(new) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            return  # validation refuses changes of unbound claims
        name = annotations_of(new).get(BETA_CLASS) or draft_spec(new).get("storageClassName") or ""
        found = await self._classes.get(name) if name else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise refuse(
                request,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                "must support resize",
            )


def _size(claim: Object) -> Quantity:
    resources = (claim.get("spec") or {}).get("resources") or {}
    return amounts(resources.get("requests")).get("storage", ZERO)


class DefaultIngressClass:
    """Ingresses without a class get the default one."""

    name = "DefaultIngressClass"
    handles_by_kind = True

    def __init__(self, ingress_classes: Lookup) -> None:
        self._classes = ingress_classes

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, INGRESSES, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        ingress = request.object
        if ingress is None or INGRESS_CLASS in annotations_of(ingress):
            return
        spec = draft_spec(ingress)
        if spec.get("ingressClassName") is not None:
            return
        classes = await self._classes.list()
        default = _newest(item for item in classes if annotations_of(item).get(DEFAULT_INGRESS_CLASS) == "true")
        if default is not None:
            spec["ingressClassName"] = name_of(default)

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


class DenyServiceExternalIPs:
    """Nobody may add external addresses to Services."""

    name = "DenyServiceExternalIPs"
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, SERVICES, Operation.CREATE, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        new = set(((request.object or {}).get("spec") or {}).get("externalIPs") or ())
        old = set(((request.old or {}).get("spec") or {}).get("externalIPs") or ())
        if new - old:
            raise refuse(request, "Use of external IPs is denied by admission control.")
