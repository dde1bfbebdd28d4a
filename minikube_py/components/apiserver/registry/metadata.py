"""System fields of metadata: what a client may not choose and what a change may not lose.

Follows ``rest.FillObjectMetaSystemFields``, ``rest.BeforeCreate`` and ``rest.BeforeUpdate``.
"""

from __future__ import annotations

import os

from minikube_py.components.apiserver.registry.kinds import is_custom
from minikube_py.components.apiserver.storage.lists import unsigned
from minikube_py.machinery.errors import ApiError, FieldError, bad_request, conflict
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.metadata import USUAL_CHECKS, UpdateChecks, metadata_update_errors
from minikube_py.machinery.names import generate_name
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import rfc3339

_NAMESPACE_MISMATCH = "the namespace of the provided object does not match the namespace sent on the request"
_SERVER_OWNED = ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")


def identify(kind: Kind, draft: Object, namespace: str) -> Object:
    """Give a draft its kind, version and namespace; returns its metadata. ApiError 400 on a mismatch."""
    draft["kind"], draft["apiVersion"] = kind.resource.kind, kind.resource.api_version
    meta = draft.get("metadata")
    if not isinstance(meta, dict):
        meta = draft["metadata"] = {}
    if kind.resource.namespaced:
        place(meta, namespace)
    elif not meta.get("namespace"):
        meta.pop("namespace", None)
    return meta


def place(meta: Object, namespace: str) -> None:
    """Put the request's namespace into metadata. ApiError 400 when it names another one."""
    given = meta.get("namespace")
    if given and given != namespace:
        raise bad_request(_NAMESPACE_MISMATCH)
    if namespace:
        meta["namespace"] = namespace


def revision_of(meta: Object) -> int:
    """The resourceVersion in a draft, 0 for none. ApiError 500 with the reference's bare text for what is no number."""
    text = str(meta.get("resourceVersion") or "")
    try:
        return unsigned(text) if text else 0
    except ValueError as error:
        raise ApiError(500, "", str(error)) from error


def names_revision(meta: Object) -> bool:
    """Whether a new object claims to have a revision; what is no number is nobody's."""
    try:
        return revision_of(meta) != 0
    except ApiError:
        return False


def new_uid() -> str:
    """A random UUID (RFC 9562, version 4) as text. ``uuid.uuid4`` takes three times as long to say the same."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def fill_new(kind: Kind, draft: Object, now: float) -> None:
    """System fields of a new object: uid, creation time, generated name, first generation."""
    meta = draft["metadata"]
    for field in _SERVER_OWNED:
        meta.pop(field, None)
    if "resourceVersion" in meta and not names_revision(meta):
        meta.pop("resourceVersion", None)
    meta["uid"] = new_uid()
    meta["creationTimestamp"] = rfc3339(now)
    if not meta.get("name"):
        meta.pop("name", None)
        if meta.get("generateName"):
            meta["name"] = generate_name(str(meta["generateName"]))
    if kind.generation:
        meta["generation"] = 1


def check_name(draft: Object, name: str) -> None:
    """The name in a body must be that of the URL; ApiError 400."""
    given = draft["metadata"].get("name")
    if not given:
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if given != name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def check_uid(kind: Kind, draft: Object, old: Object) -> None:
    """A draft with a uid is for exactly that object. Raises Conflict."""
    wanted, found = draft["metadata"].get("uid"), old["metadata"].get("uid")
    if wanted and wanted != found:
        raise uid_conflict(kind, draft, str(wanted), str(found))


def keep_system_fields(kind: Kind, draft: Object, old: Object) -> None:
    """Carry over what an update cannot change."""
    meta, before = draft["metadata"], old["metadata"]
    meta.pop("selfLink", None)
    if not meta.get("uid"):
        _keep(meta, before, "uid")
    for field in ("creationTimestamp", "generation"):
        _keep(meta, before, field)
    if before.get("deletionTimestamp"):
        meta["deletionTimestamp"] = before["deletionTimestamp"]
    if before.get("deletionGracePeriodSeconds") is not None and meta.get("deletionGracePeriodSeconds") is None:
        meta["deletionGracePeriodSeconds"] = before["deletionGracePeriodSeconds"]
    if not meta.get("generateName") and before.get("generateName"):
        meta["generateName"] = before["generateName"]


def _keep(meta: Object, before: Object, field: str) -> None:
    if field in before:
        meta[field] = before[field]
    else:
        meta.pop(field, None)


_STORED_NAMES = {
    ("", "services"): "services/specs",
    ("", "endpoints"): "services/endpoints",
    ("", "nodes"): "minions",
    ("", "replicationcontrollers"): "controllers",
    ("networking.k8s.io", "ingresses"): "ingress",
    ("coordination.k8s.io", "leases"): "leases",
}


_STORED_BY_GROUP = ("apiextensions.k8s.io", "apiregistration.k8s.io")


def uid_conflict(kind: Kind, draft: Object, wanted: str, found: str) -> ApiError:
    """409 with the storage error that Kubernetes shows for a uid that is not the stored object's."""
    resource, meta = kind.stored_as, draft["metadata"]
    stored = _STORED_NAMES.get((resource.group, resource.plural), resource.plural)
    if "custom" in kind.extra or resource.group in _STORED_BY_GROUP:
        stored = f"{resource.group}/{resource.plural}"
    key = "/".join(part for part in ("/registry", stored, meta.get("namespace"), meta.get("name")) if part)
    why = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    )
    return conflict(kind.resource.group, kind.resource.plural, str(meta.get("name")), why)


_NOT_AGAIN = UpdateChecks(changes=0)
_AS_NEW = UpdateChecks(changes=0, whole=1)
_ONCE_MORE = UpdateChecks(changes=1, whole=1)
_UPDATE_CHECKS = {
    ("", "configmaps"): _ONCE_MORE,
    ("", "endpoints"): _ONCE_MORE,
    ("", "events"): _NOT_AGAIN,
    ("", "limitranges"): _AS_NEW,
    ("", "namespaces"): _ONCE_MORE,
    ("", "nodes"): _ONCE_MORE,
    ("", "persistentvolumeclaims"): UpdateChecks(changes=1, whole=2),
    ("", "persistentvolumes"): UpdateChecks(changes=0, whole=2),
    ("", "pods"): _ONCE_MORE,
    ("", "replicationcontrollers"): _ONCE_MORE,
    ("", "secrets"): _ONCE_MORE,
    ("", "serviceaccounts"): _ONCE_MORE,
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"): _AS_NEW,
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"): _AS_NEW,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): _AS_NEW,
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): _AS_NEW,
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): _AS_NEW,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): _AS_NEW,
    ("apiregistration.k8s.io", "apiservices"): _ONCE_MORE,
    ("apps", "controllerrevisions"): _ONCE_MORE,
    ("apps", "daemonsets"): _ONCE_MORE,
    ("apps", "replicasets"): _ONCE_MORE,
    ("certificates.k8s.io", "certificatesigningrequests"): _ONCE_MORE,
    ("discovery.k8s.io", "endpointslices"): _AS_NEW,
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): _AS_NEW,
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): _AS_NEW,
    ("networking.k8s.io", "ingressclasses"): _ONCE_MORE,
    ("networking.k8s.io", "ipaddresses"): _ONCE_MORE,
    ("networking.k8s.io", "networkpolicies"): _ONCE_MORE,
    ("networking.k8s.io", "servicecidrs"): _ONCE_MORE,
    ("node.k8s.io", "runtimeclasses"): _ONCE_MORE,
    ("policy", "poddisruptionbudgets"): _NOT_AGAIN,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): UpdateChecks(changes=1, whole=2),
    ("rbac.authorization.k8s.io", "clusterroles"): UpdateChecks(changes=1, whole=2),
    ("rbac.authorization.k8s.io", "rolebindings"): UpdateChecks(changes=1, whole=2),
    ("rbac.authorization.k8s.io", "roles"): UpdateChecks(changes=1, whole=2),
    ("resource.k8s.io", "deviceclasses"): _ONCE_MORE,
    ("storage.k8s.io", "csinodes"): _AS_NEW,
    ("storage.k8s.io", "csistoragecapacities"): _ONCE_MORE,
    ("storage.k8s.io", "storageclasses"): _ONCE_MORE,
    ("storage.k8s.io", "volumeattachments"): UpdateChecks(changes=0, whole=2),
    ("storage.k8s.io", "volumeattributesclasses"): UpdateChecks(changes=1, whole=2),
}
"""Kinds whose strategy does not check again what may change of metadata, or checks metadata as those of new objects."""

_CHECKED_ALIKE = frozenset((
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "volumeattachments"),
))  # fmt: skip
"""Kinds whose subresources do so too; others check there what may change."""


def changed_metadata_errors(kind: Kind, draft: Object, old: Object, subresource: str) -> list[FieldError]:
    """Errors of the metadata of a changed object, as often as clients of Kubernetes see them."""
    key = (kind.resource.group, kind.resource.plural)
    checks = USUAL_CHECKS if subresource and key not in _CHECKED_ALIKE else _UPDATE_CHECKS.get(key, USUAL_CHECKS)
    return metadata_update_errors(kind, draft, old, checks, builtin=not is_custom(kind))


def spec_changed(kind: Kind, draft: Object, old: Object) -> bool:
    """Whether anything but metadata and status differs: what ``generation`` counts.

    Deployments count changes of annotations as well (their revision history lives there), EndpointSlices
    changes of labels (what is mirrored or managed by whom is said there).
    """
    if kind.resource.plural == "endpointslices" and kind.resource.group == "discovery.k8s.io":
        new, before = draft["metadata"].get("labels"), old["metadata"].get("labels")
        if (new or {}) != (before or {}):
            return True
    if kind.resource.plural == "deployments" and kind.resource.group == "apps":
        new, before = draft["metadata"].get("annotations"), old["metadata"].get("annotations")
        if (new or {}) != (before or {}):
            return True
    keys = (draft.keys() | old.keys()) - {"metadata", "status", "kind", "apiVersion"}
    return any(draft.get(key) != old.get(key) for key in keys)
