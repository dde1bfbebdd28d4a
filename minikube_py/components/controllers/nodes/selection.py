"""Whether a pod's node selector and required node affinity choose a node; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.objects import Object, labels_of, name_of
from minikube_py.machinery.placement import required_matches


def chooses(spec: Mapping[str, Any], node: Object) -> bool:
    """Whether ``nodeSelector`` and required node affinity of a pod spec allow the node."""
    return required_matches(spec, labels_of(node), name_of(node))
