"""What a rollout reads off Deployments and ReplicaSets; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minikube_py.components.controllers.numbers import scaled
from minikube_py.machinery.objects import Object, annotations_of, labels_of, metadata, name_of, thaw

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TEMPLATE_HASH = "pod-template-hash"
_OWN = frozenset({LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Deployment with its ReplicaSets: the one of the present template (or None) and the others.

    ``created`` says that this very step made the new one.
    """

    deployment: Object
    new: Object | None
    old: Sequence[Object]
    created: bool = False

    @property
    def all(self) -> list[Object]:
        return [*self.old, self.new] if self.new is not None else list(self.old)


def replicas_of(obj: Object) -> int:
    """``spec.replicas``, with its default of 1."""
    value = (obj.get("spec") or {}).get("replicas")
    return 1 if value is None else int(value)


def status_number(obj: Object, name: str) -> int:
    return int((obj.get("status") or {}).get(name) or 0)


def total_wanted(sets: Iterable[Object]) -> int:
    return sum(replicas_of(each) for each in sets)


def total_status(sets: Iterable[Object], name: str) -> int:
    return sum(status_number(each, name) for each in sets)


def is_rolling(deployment: Object) -> bool:
    strategy = (deployment.get("spec") or {}).get("strategy") or {}
    kind: str = strategy.get("type", "RollingUpdate")
    return kind == "RollingUpdate"


def limits(deployment: Object) -> tuple[int, int]:
    """(max surge, max unavailable) in pods; never both 0 in a rolling update, both 0 otherwise."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas_of(deployment)
    surge = scaled(rolling.get("maxSurge", "25%"), wanted, round_up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), wanted, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted) if wanted else 0


def max_unavailable(deployment: Object) -> int:
    return limits(deployment)[1]


def most_pods(deployment: Object) -> int:
    """How many pods a rollout may have at once."""
    return replicas_of(deployment) + limits(deployment)[0]


def creation_key(obj: Object) -> tuple[str, str]:
    """Sort key: oldest first, then by name."""
    return str(metadata(obj).get("creationTimestamp", "")), name_of(obj)


def revision_of(obj: Object) -> int:
    """The revision of a ReplicaSet or Deployment; 0 when it has none."""
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def same_template(one: Object, other: Object) -> bool:
    """Whether two pod templates are equal but for the hash label (``EqualIgnoreHash``)."""
    equal: bool = _without_hash(one) == _without_hash(other)
    return equal


def _without_hash(template: Object) -> Object:
    labels = {key: value for key, value in labels_of(template).items() if key != TEMPLATE_HASH}
    meta = {key: value for key, value in metadata(template).items() if value}
    meta.pop("creationTimestamp", None)
    meta.pop("labels", None)
    return {**template, "metadata": {**meta, "labels": labels}}


def as_decided(fresh: Object, decided: Object) -> Object:
    """The newest Deployment with the spec, its generation and the revision on which this step was decided."""
    meta = {**metadata(fresh), "generation": metadata(decided).get("generation", 0)}
    changed = {**fresh, "metadata": meta, "spec": decided["spec"]}
    return with_revision(changed, annotations_of(decided).get(REVISION, ""))


def with_revision(deployment: Object, revision: str) -> Object:
    """The Deployment with this revision in its annotations; shares the rest."""
    if not revision or annotations_of(deployment).get(REVISION) == revision:
        return deployment
    annotations = {**annotations_of(deployment), REVISION: revision}
    return {**deployment, "metadata": {**metadata(deployment), "annotations": annotations}}


def split_sets(deployment: Object, sets: Sequence[Object]) -> Rollout:
    """Tell the newest ReplicaSet from the old ones: the oldest with the Deployment's template."""
    template = (deployment.get("spec") or {}).get("template") or {}
    ordered = sorted(sets, key=creation_key)
    new = next((each for each in ordered if same_template(each["spec"].get("template") or {}, template)), None)
    return Rollout(deployment, new, [each for each in ordered if each is not new])


def inherited_annotations(deployment: Object) -> Object:
    """Annotations that ReplicaSets take over from their Deployment."""
    return {key: value for key, value in annotations_of(deployment).items() if key not in _OWN}


def annotated(deployment: Object, replica_set: Object | None, revision: int) -> Object:
    """The annotations of the new ReplicaSet at this revision (``SetNewReplicaSetAnnotations``)."""
    present = dict(annotations_of(replica_set)) if replica_set is not None else {}
    result = {**present, **inherited_annotations(deployment)}
    before = revision_of(replica_set) if replica_set is not None else 0
    if before < revision:
        result[REVISION] = str(revision)
        if before:
            history = present.get(REVISION_HISTORY, "")
            result[REVISION_HISTORY] = f"{history},{before}" if history else str(before)
    if replica_set is None:
        result |= replica_annotations(deployment)
    return result


def replica_annotations(deployment: Object) -> Object:
    return {DESIRED_REPLICAS: str(replicas_of(deployment)), MAX_REPLICAS: str(most_pods(deployment))}


def with_hash(template: Object, value: str) -> Object:
    """A private copy of the template with the hash label."""
    draft = thaw(template)
    meta = draft.get("metadata") or {}
    draft["metadata"] = {**meta, "labels": {**(meta.get("labels") or {}), TEMPLATE_HASH: value}}
    return draft
