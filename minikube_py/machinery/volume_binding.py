"""Which volume fits which claim: pure rules shared by the controller that binds and the scheduler.

Source: ``k8s.io/component-helpers/storage/volume`` (``pv_helpers.go``) and the volume index of the
persistent volume controller. A claim takes the smallest volume that is large enough, of its class
and mode, that its selector matches and that offers all of its access modes; volumes with the fewest
access modes come first. A volume that names the claim beats every other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.objects import Object, annotations_of, is_deleting, labels_of, name_of, namespace_of, uid_of
from minikube_py.machinery.quantities import Quantity, parse_quantity
from minikube_py.machinery.selectors import selector_from_label_selector

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_NOTHING = parse_quantity("0")


def spec_of(obj: Mapping[str, Any]) -> Object:
    return obj.get("spec") or {}


def phase_of(obj: Mapping[str, Any]) -> str:
    return str((obj.get("status") or {}).get("phase") or "")


def class_of(obj: Mapping[str, Any]) -> str:
    """The storage class of a claim or a volume; the old annotation wins."""
    return annotations_of(obj).get(_BETA_CLASS) or str(spec_of(obj).get("storageClassName") or "")


def has_class(claim: Mapping[str, Any]) -> bool:
    """Whether a claim says which class it wants; the empty class is a choice as well."""
    return _BETA_CLASS in annotations_of(claim) or spec_of(claim).get("storageClassName") is not None


def waits_for_consumer(storage_class: Mapping[str, Any] | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def is_fully_bound(claim: Mapping[str, Any]) -> bool:
    return bool(spec_of(claim).get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


def is_bound_to(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    """Whether a volume names the claim; one without a uid is reserved for whoever has that name."""
    reference = spec_of(volume).get("claimRef")
    if reference is None:
        return False
    same_name = (reference.get("namespace"), reference.get("name")) == (namespace_of(claim), name_of(claim))
    return same_name and reference.get("uid", "") in ("", uid_of(claim))


def claim_reference(claim: Mapping[str, Any]) -> Object:
    """What a volume's ``claimRef`` says of its claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
        "resourceVersion": (claim.get("metadata") or {}).get("resourceVersion", ""),
    }


def bound_to_claim(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> Object | None:
    """A copy of the volume that names the claim (``GetBindVolumeToClaim``); None when it does so already."""
    reference = spec_of(volume).get("claimRef") or {}
    wanted = (namespace_of(claim), name_of(claim), uid_of(claim))
    chosen_here = not is_bound_to(volume, claim)
    marked = BOUND_BY_CONTROLLER in annotations_of(volume)
    if (reference.get("namespace"), reference.get("name"), reference.get("uid")) == wanted and (
        marked or not chosen_here
    ):
        return None
    meta = dict(volume.get("metadata") or {})
    if chosen_here:
        meta["annotations"] = {**annotations_of(volume), BOUND_BY_CONTROLLER: "yes"}
    return {**volume, "metadata": meta, "spec": {**spec_of(volume), "claimRef": claim_reference(claim)}}


def requested_storage(claim: Mapping[str, Any]) -> Quantity:
    """The bytes a claim asks for."""
    requests = (spec_of(claim).get("resources") or {}).get("requests") or {}
    return parse_quantity(requests["storage"]) if "storage" in requests else _NOTHING


def capacity_of(volume: Mapping[str, Any]) -> Quantity:
    capacity = spec_of(volume).get("capacity") or {}
    return parse_quantity(capacity["storage"]) if "storage" in capacity else _NOTHING


def mode_of(obj: Mapping[str, Any]) -> str:
    return str(spec_of(obj).get("volumeMode") or "Filesystem")


def unfit(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    """Why a claim that asks for this volume by name cannot have it (``checkVolumeSatisfyClaim``); empty when it can."""
    if is_deleting(volume):
        return f"volume {name_of(volume)} is being deleted"
    if capacity_of(volume) < requested_storage(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if mode_of(volume) != mode_of(claim):
        return "incompatible volumeMode"
    if not _offers(volume, claim):
        return "incompatible accessMode"
    return ""


def best_volume(
    claim: Mapping[str, Any],
    volumes: Iterable[Object],
    *,
    reachable: Callable[[Object], bool] | None = None,
    taken: frozenset[str] = frozenset(),
    delayed: bool = False,
) -> Object | None:
    """The volume for a claim, or None.

    The scheduler says by ``reachable`` which volumes a node can use; the controller has no node, and with
    ``delayed`` it takes only what names the claim, since the scheduler chooses. ``taken``: names that are out.
    """
    for candidates in _by_access_modes(claim, [volume for volume in volumes if name_of(volume) not in taken]):
        found = _best_of(claim, candidates, reachable, delayed)
        if found is not None:
            return found
    return None


def _by_access_modes(claim: Mapping[str, Any], volumes: Sequence[Object]) -> list[list[Object]]:
    """Volumes that offer the claim's access modes, in groups of the same modes, those with the fewest first."""
    groups: dict[frozenset[str], list[Object]] = {}
    for volume in volumes:
        if _offers(volume, claim):
            groups.setdefault(frozenset(spec_of(volume).get("accessModes") or ()), []).append(volume)
    return [groups[modes] for modes in sorted(groups, key=lambda modes: (len(modes), sorted(modes)))]


def _offers(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    return set(spec_of(claim).get("accessModes") or ()) <= set(spec_of(volume).get("accessModes") or ())


def _best_of(
    claim: Mapping[str, Any],
    volumes: Sequence[Object],
    reachable: Callable[[Object], bool] | None,
    delayed: bool,
) -> Object | None:
    requested, selector = requested_storage(claim), spec_of(claim).get("selector")
    matcher = selector_from_label_selector(selector) if selector else None
    smallest: Object | None = None
    for volume in volumes:
        if spec_of(volume).get("claimRef") is not None and not is_bound_to(volume, claim):
            continue
        if is_deleting(volume) or mode_of(volume) != mode_of(claim) or _attributes(volume) != _attributes(claim):
            continue
        if capacity_of(volume) < requested:
            continue
        within_reach = reachable is None or reachable(volume)
        if is_bound_to(volume, claim):
            return volume if within_reach else None
        if (reachable is None and delayed) or not within_reach or phase_of(volume) != "Available":
            continue
        if class_of(volume) != class_of(claim) or (matcher is not None and not matcher.matches(labels_of(volume))):
            continue
        if smallest is None or capacity_of(volume) < capacity_of(smallest):
            smallest = volume
    return smallest


def _attributes(obj: Mapping[str, Any]) -> str:
    return str(spec_of(obj).get("volumeAttributesClassName") or "")


def default_class(classes: Iterable[Object]) -> Object | None:
    """The class for claims that name none: the newest of those marked as default, the first by name among equals."""
    marked = [each for each in classes if any(annotations_of(each).get(key) == "true" for key in _DEFAULT_CLASS)]
    ordered = sorted(marked, key=name_of)
    return max(ordered, key=lambda each: str((each.get("metadata") or {}).get("creationTimestamp", "")), default=None)
