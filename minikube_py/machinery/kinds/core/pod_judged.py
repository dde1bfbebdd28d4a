"""What the validity of a new pod rests on, as a text: pods of one template need to be looked at only once.

Besides the metadata that all kinds have, and that are checked for each object, ``validate_pod`` and ``pod_warnings``
look at a pod's spec, its annotations and its name. The name matters where it is no DNS label (a warning) and to
volumes that are claims of the pod's own; pods with either have no text. The name of the token's volume, which is a
random one in each pod, means nothing but itself: it is written as something that no JSON holds.
"""

from __future__ import annotations

from typing import Any

import orjson

from minikube_py.machinery.names import dns1123_label_errors
from minikube_py.machinery.objects import Object

_TOKEN_VOLUME = "kube-api-access-"
_ANY_TOKEN_VOLUME = b'"\0"'


def judged_text(pod: Object) -> bytes | None:
    """The text, or None for a pod that must be looked at by itself."""
    meta, spec = pod["metadata"], pod.get("spec")
    if not isinstance(spec, dict) or dns1123_label_errors(meta.get("name") or ""):
        return None
    volumes: list[Any] = spec.get("volumes") or []
    token_volume = ""
    for volume in volumes:
        if "ephemeral" in volume:
            return None
        name = volume.get("name")
        if isinstance(name, str) and name.startswith(_TOKEN_VOLUME):
            token_volume = name
    text = orjson.dumps((spec, meta.get("annotations")))
    if token_volume:
        text = text.replace(orjson.dumps(token_volume), _ANY_TOKEN_VOLUME)
    return text
