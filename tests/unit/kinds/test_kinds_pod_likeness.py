"""What new pods are remembered by: all that preparation and validation look at, and nothing that differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from minikube_py.machinery.kinds.core.pod import KIND
from minikube_py.machinery.kinds.core.pod_likeness import likeness
from minikube_py.machinery.objects import Object, thaw

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def text(made: Object) -> bytes | None:
    found = likeness(made)
    return found.text if found is not None else None


def pod(name: str = "a", volume: str = "kube-api-access-abcde", **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "volumeMounts": [{"name": volume, "mountPath": MOUNT}]}
    made: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "x", "uid": name, "labels": {"app": name}},
        "spec": {"containers": [container], "volumes": [{"name": volume, "emptyDir": {}}], **spec},
    }
    KIND.default(made)
    return made


class Watched(dict[str, Any]):
    """An object that notes which of its fields were looked at; all of them when it is gone through."""

    def __init__(self, fields: Object) -> None:
        super().__init__(fields)
        self.looked_at: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.looked_at.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.looked_at.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.looked_at.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.looked_at.update(super().keys())
        return super().__iter__()

    def items(self) -> Any:
        self.looked_at.update(super().keys())
        return super().items()

    keys = values = items


@pytest.mark.parametrize(
    "made",
    [
        pod(),
        pod(hostNetwork=True),
        pod(schedulingGates=[{"name": "x.io/g"}], nodeName="n"),
        pod(ephemeralContainers=[{"name": "e", "image": "i"}]),
        pod(volumes=[{"name": "kube-api-access-abcde", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]),
    ],
    ids=["plain", "host network", "gates", "ephemeral containers", "ephemeral volume"],
)
def test_validation_looks_at_nothing_else(made: Object) -> None:
    KIND.prepare_create(made)
    meta = Watched(made["metadata"])
    whole = Watched({**made, "metadata": meta})
    KIND.validate(whole)
    KIND.warnings(whole, None)
    assert whole.looked_at == {"metadata", "spec"}
    assert meta.looked_at <= {"name", "annotations"}


SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["app"]}
TERM = {"labelSelector": {}, "topologyKey": "zone", "matchLabelKeys": ["app"]}


@pytest.mark.parametrize(
    "spec",
    [
        {"topologySpreadConstraints": [{**SPREAD, "labelSelector": {}}]},
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}},
    ],
    ids=["spread", "affinity"],
)
def test_labels_count_where_they_become_terms(spec: Object) -> None:
    assert text(pod("a", **thaw(spec))) != text(pod("b", **thaw(spec)))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"hostNetwork": True},
        {"nodeSelector": {}, "tolerations": [], "terminationGracePeriodSeconds": -1},
        {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}}}]},
        {"containers": [{"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGTERM"}}]},
        {"ephemeralContainers": [{"name": "e", "image": "i"}]},
    ],
    ids=["plain", "host network", "empty", "resources", "gated", "ephemeral"],
)
def test_preparation_gives_pods_of_one_text_the_same(spec: Object) -> None:
    first, second = pod("a", **thaw(spec)), pod("b", **thaw(spec))
    second["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x.io/f"], "ownerReferences": []}
    assert text(first) == text(second) is not None
    for made in (first, second):
        KIND.prepare_create(made)
    assert (first["spec"], first["status"]) == (second["spec"], second["status"])


@pytest.mark.parametrize(
    "other",
    [pod("b"), pod(volume="kube-api-access-fghij"), pod("a-longer-name", "kube-api-access-00000")],
    ids=["name", "volume", "both"],
)
def test_pods_of_one_template_have_one_text(other: Object) -> None:
    assert text(other) == text(pod())
    assert text(other) is not None


@pytest.mark.parametrize(
    "other",
    [
        pod(nodeSelector={"a": "b"}),
        pod(volume="data"),
        pod(volume="kube-api-access-NOT_A_NAME"),
        pod(volumes=[{"name": "kube-api-access-fghij", "emptyDir": {}}]),
        pod(volumes=[{"name": name, "emptyDir": {}} for name in ("\\0", "kube-api-access-abcde")]),
        {**pod(), "metadata": {"name": "a", "annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}},
    ],
    ids=["spec", "another volume", "no name", "a mount without its volume", "a volume like the mark", "annotations"],
)
def test_others_have_others(other: Object) -> None:
    assert text(other) is not None
    assert text(other) != text(pod())


@pytest.mark.parametrize(
    "other",
    [
        pod("not.a.label"),
        pod("x" * 64),
        pod(volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]),
        pod(schedulingGates=[{"name": "x.io/g"}]),
    ],
    ids=["dots", "too long", "a claim of its own", "gates"],
)
def test_whose_name_matters_has_no_text(other: Object) -> None:
    assert likeness(other) is None
