"""What a pod makes its node need: the names of all objects that a kubelet reads to run it.

Derived once for each revision of a pod. Same edges as ``plugin/pkg/auth/authorizer/node/graph.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.objects import Object, annotations_of

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_PV_SECRETS = {
    "csi": (
        "controllerPublishSecretRef",
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "controllerExpandSecretRef",
        "nodeExpandSecretRef",
    ),
    "cephfs": ("secretRef",),
    "cinder": ("secretRef",),
    "flexVolume": ("secretRef",),
    "iscsi": ("secretRef",),
    "rbd": ("secretRef",),
    "scaleIO": ("secretRef",),
    "storageos": ("secretRef",),
}
_VOLUME_SECRETS = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")


@dataclass(frozen=True, slots=True)
class PodNeeds:
    """Names of objects in the pod's namespace."""

    secrets: frozenset[str] = frozenset()
    config_maps: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()
    resource_claims: frozenset[str] = frozenset()
    service_account: str = ""


def needs_of(pod: Object) -> PodNeeds:
    """Mirror pods need nothing: a node writes them itself and must not gain rights that way."""
    if MIRROR_ANNOTATION in annotations_of(pod):
        return PodNeeds()
    spec = pod.get("spec") or {}
    secrets = {str(item.get("name")) for item in spec.get("imagePullSecrets") or () if item.get("name")}
    config_maps: set[str] = set()
    claims: set[str] = set()
    for container in containers_of(spec):
        _collect_environment(container, secrets, config_maps)
    for volume in spec.get("volumes") or ():
        _collect_volume(volume, str((pod.get("metadata") or {}).get("name", "")), secrets, config_maps, claims)
    return PodNeeds(
        frozenset(secrets),
        frozenset(config_maps),
        frozenset(claims),
        frozenset(_resource_claims(pod, spec)),
        str(spec.get("serviceAccountName") or ""),
    )


def containers_of(spec: Mapping[str, Any]) -> Iterator[Object]:
    """Init, ordinary and ephemeral containers."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _collect_environment(container: Object, secrets: set[str], config_maps: set[str]) -> None:
    for source in container.get("envFrom") or ():
        _add_name(source.get("secretRef"), secrets)
        _add_name(source.get("configMapRef"), config_maps)
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        _add_name(source.get("secretKeyRef"), secrets)
        _add_name(source.get("configMapKeyRef"), config_maps)


def _collect_volume(volume: Object, pod_name: str, secrets: set[str], config_maps: set[str], claims: set[str]) -> None:
    _add_name(volume.get("configMap"), config_maps)
    if volume.get("secret"):
        secrets.add(str(volume["secret"].get("secretName", "")))
    if volume.get("azureFile"):
        secrets.add(str(volume["azureFile"].get("secretName", "")))
    _add_name((volume.get("csi") or {}).get("nodePublishSecretRef"), secrets)
    for source in (volume.get("projected") or {}).get("sources") or ():
        _add_name(source.get("secret"), secrets)
        _add_name(source.get("configMap"), config_maps)
    for kind in _VOLUME_SECRETS:
        _add_name((volume.get(kind) or {}).get("secretRef"), secrets)
    if volume.get("persistentVolumeClaim"):
        claims.add(str(volume["persistentVolumeClaim"].get("claimName", "")))
    if volume.get("ephemeral"):
        claims.add(f"{pod_name}-{volume.get('name', '')}")


def _add_name(reference: Mapping[str, Any] | None, names: set[str]) -> None:
    if reference and reference.get("name"):
        names.add(str(reference["name"]))


def _resource_claims(pod: Object, spec: Object) -> Iterator[str]:
    generated = {
        item.get("name"): item.get("resourceClaimName")
        for item in (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    }
    for claim in spec.get("resourceClaims") or ():
        name = claim.get("resourceClaimName") or generated.get(claim.get("name"))
        if name:
            yield str(name)


def volume_secrets(volume: Object, claim_namespace: str) -> Iterator[tuple[str, str]]:
    """(namespace, name) of the Secrets that a PersistentVolume refers to."""
    spec = volume.get("spec") or {}
    for kind, fields in _PV_SECRETS.items():
        for field in fields:
            reference = (spec.get(kind) or {}).get(field)
            if reference and reference.get("name"):
                yield str(reference.get("namespace") or claim_namespace), str(reference["name"])
    azure = spec.get("azureFile")
    if azure and azure.get("secretName"):
        yield str(azure.get("secretNamespace") or claim_namespace), str(azure["secretName"])
