"""The names, labels and claims of a StatefulSet's pods; pure."""

from __future__ import annotations

import re

from minikube_py.components.controllers.pods import pod_from_template
from minikube_py.components.controllers.revisions import HASH
from minikube_py.machinery.objects import Object, labels_of, metadata, name_of, namespace_of, thaw
from minikube_py.machinery.owners import owner_reference, owner_references
from minikube_py.machinery.resources import PODS, STATEFUL_SETS

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


def first_ordinal(owner: Object) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def replicas_of(owner: Object) -> int:
    value = owner["spec"].get("replicas")
    return 1 if value is None else int(value)


def ordinal_of(owner: Object, pod: Object) -> int | None:
    """The pod's ordinal; None when its name is not of this set."""
    found = re.fullmatch(re.escape(name_of(owner)) + r"-(\d+)", name_of(pod))
    return int(found[1]) if found else None


def claim_name(owner: Object, template: Object, ordinal: int) -> str:
    return f"{name_of(template)}-{name_of(owner)}-{ordinal}"


def claims_of(owner: Object, ordinal: int) -> list[Object]:
    """Drafts of the PersistentVolumeClaims of a pod."""
    drafts: list[Object] = []
    match_labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        draft = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": thaw(template.get("spec") or {})}
        meta = thaw(metadata(template))
        meta["name"] = claim_name(owner, template, ordinal)
        meta["namespace"] = namespace_of(owner)
        meta["labels"] = {**(meta.get("labels") or {}), **match_labels}
        meta.pop("creationTimestamp", None)
        draft["metadata"] = meta
        drafts.append(draft)
    return drafts


def pod_draft(owner: Object, template: Object, ordinal: int, revision: str) -> Object:
    """The pod of an ordinal at a revision."""
    draft = pod_from_template(template, owner, STATEFUL_SETS)
    meta, spec = draft["metadata"], draft["spec"]
    name = f"{name_of(owner)}-{ordinal}"
    meta.pop("generateName", None)
    meta["name"], meta["namespace"] = name, namespace_of(owner)
    meta["labels"] |= {POD_NAME: name, POD_INDEX: str(ordinal), HASH: revision}
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    claimed = owner["spec"].get("volumeClaimTemplates") or ()
    names = {name_of(each) for each in claimed}
    others = [volume for volume in spec.get("volumes") or () if volume.get("name") not in names]
    volumes = [
        {"name": name_of(each), "persistentVolumeClaim": {"claimName": claim_name(owner, each, ordinal)}}
        for each in claimed
    ]
    if others or volumes:
        spec["volumes"] = [*volumes, *others]
    return draft


def revision_of(pod: Object) -> str:
    return str(labels_of(pod).get(HASH, ""))


def retained_owners(owner: Object, claim: Object, pod: Object | None, *, condemned: bool) -> list[Object]:
    """The owner references the claim must have for ``persistentVolumeClaimRetentionPolicy``."""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    ours = {(STATEFUL_SETS.kind, name_of(owner)), *({(PODS.kind, name_of(pod))} if pod is not None else ())}
    kept = [each for each in owner_references(claim) if (each.get("kind"), each.get("name")) not in ours]
    if policy.get("whenScaled") == "Delete" and condemned and pod is not None:
        kept.append(owner_reference(pod, "v1", "Pod", controller=True, block=False))
    elif policy.get("whenDeleted") == "Delete":
        kept.append(owner_reference(owner, STATEFUL_SETS.api_version, STATEFUL_SETS.kind, block=False))
    return kept
