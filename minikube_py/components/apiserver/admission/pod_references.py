"""Which sort of API object a pod refers to: static pods, which a node writes, may refer to none.

Same order and words as ``HasAPIObjectReference`` in ``pkg/api/pod``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.components.apiserver.authorization.pod_needs import needs_of
from minikube_py.machinery.objects import Object

_BY_VOLUME = {
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
}
_BY_PROJECTION = {
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def referenced_resource(pod: Object) -> str:
    """The resource of the first reference, in the words of a refusal; empty when there is none."""
    spec = pod.get("spec") or {}
    # Without the annotation of mirror pods the pod's references count.
    needs = needs_of({**pod, "metadata": {**(pod.get("metadata") or {}), "annotations": {}}})
    if needs.service_account:
        return "serviceaccounts"
    if needs.secrets:
        return "secrets"
    if needs.config_maps:
        return "configmaps"
    if spec.get("resourceClaims"):
        return "resourceclaims"
    return next((found for volume in spec.get("volumes") or () if (found := _of_volume(volume))), "")


def _of_volume(volume: Mapping[str, Any]) -> str:
    for kind, words in _BY_VOLUME.items():
        if volume.get(kind) is not None:
            return words
    for source in (volume.get("projected") or {}).get("sources") or ():
        for kind, words in _BY_PROJECTION.items():
            if source.get(kind) is not None:
                return words
    return ""
