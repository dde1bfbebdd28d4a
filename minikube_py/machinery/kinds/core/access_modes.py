"""How access modes and storage classes of volumes and claims are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.machinery.objects import annotations_of

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def access_modes_text(modes: Iterable[str]) -> str:
    """``RWO,ROX,...`` in Kubernetes' order, each once."""
    given = set(modes)
    return ",".join(short for mode, short in _SHORT.items() if mode in given)


def storage_class_of(obj: Mapping[str, Any]) -> str:
    """The class's name: the old annotation wins over the field; empty when there is none."""
    old = annotations_of(obj).get(BETA_CLASS)
    return old if old is not None else str((obj.get("spec") or {}).get("storageClassName") or "")
