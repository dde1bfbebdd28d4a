"""The volume that an attachment holds itself: a CSI volume made of one that a pod names, without a claim or a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, required
from minikube_py.machinery.kinds.common.checks import Errors
from minikube_py.machinery.kinds.common.claim_validation import access_mode_errors
from minikube_py.machinery.kinds.common.podspec.volumes import source_errors
from minikube_py.machinery.kinds.core.persistent_volume import PERSISTENT_SOURCES

_CONTEXT = "in the context of inline volumes"


def inline_volume_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``ValidatePersistentVolumeSpec`` of an inline volume: one source, and none of what belongs to an object."""
    errors: Errors = [] if spec.get("claimRef") is None else [_foreign(path, "claimRef")]
    errors += [_foreign(path, "capacity")] if spec.get("capacity") else []
    if spec.get("csi") is None:
        errors.append(required(f"{path}.csi", f"has to be specified {_CONTEXT}"))
    modes = spec.get("accessModes") or ()
    errors += access_mode_errors(f"{path}.accessModes", modes) if modes else [required(f"{path}.accessModes")]
    if (spec.get("persistentVolumeReclaimPolicy") or "Retain") != "Retain":
        errors.append(forbidden_field(f"{path}.persistentVolumeReclaimPolicy", f"may only be Retain {_CONTEXT}"))
    if spec.get("nodeAffinity") is not None:
        errors.append(_foreign(path, "nodeAffinity"))
    errors += source_errors(path, spec, PERSISTENT_SOURCES)
    if spec.get("local") is not None:
        errors.append(required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    if spec.get("storageClassName"):
        errors.append(_foreign(path, "storageClassName"))
    if spec.get("volumeMode") not in (None, "Filesystem"):
        text = f"may not specify volumeMode other than Filesystem {_CONTEXT}"
        errors.append(forbidden_field(f"{path}.volumeMode", text))
    return errors


def _foreign(path: str, field: str) -> FieldError:
    return forbidden_field(f"{path}.{field}", f"may not be specified {_CONTEXT}")
