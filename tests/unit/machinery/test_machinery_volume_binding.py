"""Which volume a claim gets."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.volume_binding import (
    BOUND_BY_CONTROLLER,
    best_volume,
    bound_to_claim,
    default_class,
    unfit,
)


def volume(name: str, size: str = "1Gi", *, phase: str = "Available", **spec: Any) -> Object:
    meta: Object = {"name": name, "labels": spec.pop("labels", {}), "annotations": spec.pop("annotations", {})}
    meta |= spec.pop("metadata", {})
    body = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", **spec}
    return {"metadata": meta, "spec": body, "status": {"phase": phase}}


def claim(size: str = "1Gi", **spec: Any) -> Object:
    meta: Object = {"name": "c", "namespace": "n", "uid": "u", "annotations": spec.pop("annotations", {})}
    body = {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast"}
    return {"metadata": meta, "spec": {**body, **spec}}


def naming(uid: str = "u", name: str = "c") -> Object:
    return {"namespace": "n", "name": name, **({"uid": uid} if uid else {})}


@pytest.mark.parametrize(
    ("wanted", "volumes", "expected"),
    [
        pytest.param(claim("2Gi"), [volume("a", "1Gi"), volume("b", "9Gi"), volume("c", "3Gi")], "c", id="smallest"),
        pytest.param(claim("2Gi"), [volume("a", "1Gi")], None, id="all too small"),
        pytest.param(claim("1500Mi"), [volume("a", "1.5Gi")], "a", id="quantities, not texts"),
        pytest.param(
            claim(), [volume("a", "1Gi", accessModes=["ReadWriteOnce", "ReadOnlyMany"]), volume("b", "8Gi")], "b",
            id="fewest access modes before the smallest",
        ),
        pytest.param(claim(accessModes=["ReadWriteMany"]), [volume("a")], None, id="access modes"),
        pytest.param(claim(storageClassName="slow"), [volume("a")], None, id="class"),
        pytest.param(
            claim(annotations={"volume.beta.kubernetes.io/storage-class": "fast"}, storageClassName="slow"),
            [volume("a")], "a", id="class by the old annotation",
        ),
        pytest.param(claim(volumeMode="Block"), [volume("a")], None, id="mode"),
        pytest.param(claim(volumeMode="Filesystem"), [volume("a")], "a", id="mode by default"),
        pytest.param(claim(volumeAttributesClassName="gold"), [volume("a")], None, id="attributes class"),
        pytest.param(
            claim(selector={"matchLabels": {"t": "x"}}), [volume("a"), volume("b", "5Gi", labels={"t": "x"})], "b",
            id="selector",
        ),
        pytest.param(claim(), [volume("a", phase="Released")], None, id="not available"),
        pytest.param(claim(), [volume("a", claimRef=naming("other"))], None, id="bound to another"),
        pytest.param(claim(), [volume("a", metadata={"deletionTimestamp": "now"})], None, id="going away"),
        pytest.param(
            claim(), [volume("a"), volume("b", "9Gi", claimRef=naming(""), phase="Pending", storageClassName="o")], "b",
            id="reserved by name, whatever its class",
        ),
        pytest.param(claim(), [volume("a"), volume("b", "9Gi", claimRef=naming("u"))], "b", id="bound already"),
        pytest.param(claim("9Gi"), [volume("b", "1Gi", claimRef=naming(""))], None, id="reserved, but too small"),
    ],
)  # fmt: skip
def test_best_volume(wanted: Object, volumes: list[Object], expected: str | None) -> None:
    for order in (volumes, volumes[::-1]):
        found = best_volume(wanted, order)
        assert (None if found is None else name_of(found)) == expected


def test_the_controller_leaves_delayed_claims_to_the_scheduler() -> None:
    volumes = [volume("near"), volume("far")]
    assert best_volume(claim(), volumes, delayed=True) is None
    assert best_volume(claim(), [*volumes, volume("own", claimRef=naming(""))], delayed=True) is not None
    found = best_volume(claim(), volumes, reachable=lambda each: name_of(each) == "far")
    assert found is not None and name_of(found) == "far"
    assert best_volume(claim(), volumes, reachable=lambda each: True, taken=frozenset({"near", "far"})) is None
    own = [volume("own", claimRef=naming("")), volume("near")]
    assert best_volume(claim(), own, reachable=lambda each: name_of(each) == "near") is None


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        pytest.param(claim(), "", id="fits"),
        pytest.param(claim("2Gi"), "requested PV is too small", id="size"),
        pytest.param(claim(storageClassName=""), "storageClassName does not match", id="class"),
        pytest.param(claim(volumeMode="Block"), "incompatible volumeMode", id="mode"),
        pytest.param(claim(accessModes=["ReadOnlyMany"]), "incompatible accessMode", id="access modes"),
    ],
)
def test_unfit(wanted: Object, text: str) -> None:
    assert unfit(volume("a"), wanted) == text


def test_a_volume_names_its_claim_once() -> None:
    draft = bound_to_claim(volume("a"), claim())
    assert draft is not None
    assert draft["spec"]["claimRef"]["uid"] == "u" and draft["metadata"]["annotations"] == {BOUND_BY_CONTROLLER: "yes"}
    assert bound_to_claim(draft, claim()) is None
    reserved = bound_to_claim(volume("a", claimRef=naming("")), claim())
    assert reserved is not None and reserved["metadata"]["annotations"] == {}
    assert bound_to_claim(reserved, claim()) is None


def test_the_default_class_is_the_newest() -> None:
    def storage_class(name: str, created: str, key: str = "storageclass.kubernetes.io/is-default-class") -> Object:
        return {"metadata": {"name": name, "creationTimestamp": created, "annotations": {key: "true"}}}

    beta = storage_class("b", "2026-01-02T00:00:00Z", "storageclass.beta.kubernetes.io/is-default-class")
    found = default_class(
        [storage_class("a", "2026-01-01T00:00:00Z"), beta, storage_class("c", "2026-01-02T00:00:00Z")]
    )
    assert found is beta
    assert default_class([{"metadata": {"name": "x"}}]) is None
