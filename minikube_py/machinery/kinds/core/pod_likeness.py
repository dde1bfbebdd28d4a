"""What new pods have in common: those of one template need to be prepared and looked at only once.

Besides the metadata that all kinds have, and that are checked for each object, ``prepare_create``, ``validate_pod`` and
``pod_warnings`` look at a pod's spec, its annotations, its name and its labels. The name matters where it is no DNS
label (a warning) and to volumes that are claims of the pod's own; labels matter to terms that take their values
(``matchLabelKeys``); the time of creation to pods with gates. Pods with any of these are like no other, but for labels,
which are then part of what is compared. The name of the token's volume, which is a random one in each pod, means
nothing but itself.
"""

from __future__ import annotations

from typing import Any

import orjson

from minikube_py.machinery.kind import OWN, Likeness
from minikube_py.machinery.names import dns1123_label_errors
from minikube_py.machinery.objects import Object

_TOKEN_VOLUME = "kube-api-access-"


def likeness(pod: Object) -> Likeness | None:
    """See ``kind.Alike``."""
    meta, spec = pod["metadata"], pod.get("spec")
    if not isinstance(spec, dict) or spec.get("schedulingGates") or dns1123_label_errors(meta.get("name") or ""):
        return None
    volumes: list[Any] = spec.get("volumes") or []
    token_volume = ""
    for volume in volumes:
        if "ephemeral" in volume:
            return None
        name = volume.get("name")
        if isinstance(name, str) and name.startswith(_TOKEN_VOLUME) and not dns1123_label_errors(name):
            token_volume = name
    labels = meta.get("labels") if "affinity" in spec or "topologySpreadConstraints" in spec else None
    text = orjson.dumps((spec, meta.get("annotations"), labels))
    if not token_volume:
        return Likeness(text)
    own = orjson.dumps(token_volume)
    return Likeness(text.replace(own, OWN), own)
