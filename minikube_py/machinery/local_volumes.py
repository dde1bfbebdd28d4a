"""Volumes of class ``local-path``: folders on one node, made when their first pod is scheduled; pure.

The server makes the PersistentVolume, the node its folder. A finalizer keeps the object until the node has removed the
folder, so nothing is left behind and nothing is removed that somebody may still want.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.objects import Object, annotations_of, metadata, name_of, uid_of
from minikube_py.machinery.volume_binding import PROVISIONED_BY, claim_reference, phase_of, spec_of

STORAGE_CLASS = "local-path"
PROVISIONER = "pyk3s.io/local-path"
FINALIZER = "pyk3s.io/local-path-folder"
NODE_ANNOTATION = "pyk3s.io/local-path-node"
_IN_USE = "kubernetes.io/pv-protection"
_HOSTNAME = "kubernetes.io/hostname"
_ACCESS_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


def storage_class() -> Object:
    """The class, by default that of claims which name none (k3s's class has the same name)."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume_name(claim: Mapping[str, Any]) -> str:
    return f"pvc-{uid_of(claim)}"


def folder_name(volume: Mapping[str, Any]) -> str:
    """The last part of its path, by which a node knows that a folder is this volume's."""
    claim = spec_of(volume).get("claimRef") or {}
    return f"{name_of(volume)}_{claim.get('namespace')}_{claim.get('name')}"


def refusal(claim: Mapping[str, Any]) -> str:
    """Why a folder of one node cannot serve a claim; empty when it can."""
    spec = spec_of(claim)
    modes = list(spec.get("accessModes") or ())
    if not set(modes) <= _ACCESS_MODES:
        return f"access modes {', '.join(modes)} are not supported, only ReadWriteOnce and ReadWriteOncePod"
    if spec.get("volumeMode") not in (None, "Filesystem"):
        return "volumes of mode Block are not supported"
    if spec.get("selector"):
        return "claims with a selector are not supported"
    return ""


def volume_for(claim: Object, of_class: Object, node: Object, root: str) -> Object:
    """The volume of a claim, in ``root`` on a node."""
    requests = (spec_of(claim).get("resources") or {}).get("requests") or {}
    host = (metadata(node).get("labels") or {}).get(_HOSTNAME) or name_of(node)
    here = {"matchExpressions": [{"key": _HOSTNAME, "operator": "In", "values": [host]}]}
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {PROVISIONED_BY: PROVISIONER, NODE_ANNOTATION: name_of(node)},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "accessModes": list(spec_of(claim).get("accessModes") or ()),
            "capacity": {"storage": requests.get("storage", "0")},
            "claimRef": claim_reference(claim),
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
            "persistentVolumeReclaimPolicy": of_class.get("reclaimPolicy") or "Delete",
            "storageClassName": name_of(of_class),
            "volumeMode": "Filesystem",
        },
    }
    volume["spec"]["local"] = {"path": f"{root.rstrip('/')}/{folder_name(volume)}"}
    return volume


def is_local_path(volume: Mapping[str, Any]) -> bool:
    return annotations_of(volume).get(PROVISIONED_BY) == PROVISIONER


def node_of_volume(volume: Mapping[str, Any]) -> str:
    return annotations_of(volume).get(NODE_ANNOTATION, "")


def awaits_its_folder(volume: Mapping[str, Any]) -> bool:
    """Whether the object goes away, nobody uses it any more, and only its folder is left."""
    meta = metadata(volume)
    finalizers = meta.get("finalizers") or ()
    return bool(meta.get("deletionTimestamp")) and FINALIZER in finalizers and _IN_USE not in finalizers


def data_goes_too(volume: Mapping[str, Any]) -> bool:
    """Whether the claim is gone and its data is not wanted: a volume that was retained leaves its folder behind."""
    return (
        phase_of(volume) in ("Released", "Failed") and spec_of(volume).get("persistentVolumeReclaimPolicy") == "Delete"
    )


def without_folder_finalizer(volume: Mapping[str, Any]) -> Object:
    """The merge patch that takes the finalizer off this very state of the volume."""
    meta = metadata(volume)
    rest = [each for each in meta.get("finalizers") or () if each != FINALIZER]
    guard = {"uid": uid_of(volume), "resourceVersion": meta.get("resourceVersion")}
    return {"metadata": {**guard, "finalizers": rest or None}}
