"""New objects that are like others which were found in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest

from minikube_py.components.apiserver.registry.known_objects import KnownObjects
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kinds.core.pod import KIND as POD
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import PODS

URL = "/api/v1/namespaces/x/pods"


def pod(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


@pytest.fixture
def seen(api: ApiServer) -> list[str]:
    """The names of the pods that were looked at. Pods with the image "bad" are refused."""
    kind, names = api.core.kinds.of(PODS), []

    def validate(made: Object) -> list[FieldError]:
        names.append(made["metadata"]["name"])
        bad = made["spec"]["containers"][0]["image"] == "bad"
        return kind.validate(made) + ([invalid_value("spec", "bad", "bad")] if bad else [])

    api.core.kinds.add(replace(kind, validate=validate))
    return names


async def test_pods_of_one_template_are_looked_at_once(http: aiohttp.ClientSession, seen: list[str]) -> None:
    for name in ("a", "b", "c"):
        async with http.post(URL, json=pod(name)) as answer:
            assert answer.status == 201
            found = await answer.json()
        assert found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:containers"].keys() == {'k:{"name":"c"}'}
    assert seen == ["a"]


async def test_other_pods_are_looked_at(http: aiohttp.ClientSession, seen: list[str]) -> None:
    bodies = [pod("a"), pod("b", nodeSelector={"a": "b"}), pod("c", containers=[{"name": "c", "image": "bad"}])]
    found = []
    for body in [*bodies, bodies[2], pod("d.e"), pod("d.f")]:
        async with http.post(URL, json=body) as answer:
            found.append((answer.status, answer.headers.get("Warning", "")[:50]))
    warned = "299 - \"metadata.name: this is used in the Pod's ho"
    assert found == [(201, ""), (201, ""), (422, ""), (422, ""), (201, warned), (201, warned)]
    assert seen == ["a", "b", "c", "c", "d.e", "d.f"]


async def test_the_metadata_of_each_is_looked_at(http: aiohttp.ClientSession, seen: list[str]) -> None:
    wrong = pod("b")
    wrong["metadata"]["labels"] = {"a b": "c"}
    for body, status in ((pod("a"), 201), (wrong, 422)):
        async with http.post(URL, json=body) as answer:
            assert answer.status == status
    assert seen == ["a", "b"], "with errors in the metadata all errors are told"


@pytest.mark.parametrize(("size", "most"), [(10, 1024), (40_000, 26), (70_000, 0)], ids=["many", "large", "too large"])
def test_what_is_remembered_is_bounded(size: int, most: int) -> None:
    objects, prepared = KnownObjects(), []
    kind = replace(POD, prepare_create=lambda draft: prepared.append(draft["metadata"]["name"]))
    drafts = [pod(str(number), nodeName="x" * size, hostname=str(number)) for number in range(1500)]
    for draft in drafts:
        mark = objects.mark(kind, draft)
        assert mark is not None
        objects.remember({**draft, "status": {}}, mark)
    for draft in drafts:
        objects.prepare(kind, draft, objects.mark(kind, draft))
    known = len(drafts) - len(prepared)
    assert known <= most
    assert not most or (known > 0 and "1499" not in prepared)


TOKEN = {"name": "kube-api-access-abcde", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
MOUNT = {"name": "kube-api-access-abcde", "mountPath": "/var/run"}


@pytest.mark.parametrize(
    "draft",
    [
        pod("a"),
        {"spec": {"containers": [{"name": "c", "image": "i"}]}, "metadata": {"name": "a", "labels": {}}},
        {**pod("a"), "status": {"podIP": "1.2.3.4"}},
        pod("a", nodeSelector={}, tolerations=[], securityContext=None, priority=0, hostname=""),
        pod("a", containers=[{"name": "c", "image": "i:latest", "resources": {"limits": {"cpu": "0.5"}}}]),
        pod("a", volumes=[TOKEN], containers=[{"name": "c", "image": "i", "volumeMounts": [MOUNT]}]),
        pod("a", volumes=[{"name": "v"}], hostNetwork=True, terminationGracePeriodSeconds=-1),
        pod("a", schedulingGates=[{"name": "x.io/g"}]),
        {"metadata": {"name": "a"}},
    ],
    ids=["plain", "spec first", "status", "empty values", "resources", "token", "volume", "gates", "no spec"],
)
def test_what_is_taken_over_is_what_would_be_made(draft: Object) -> None:
    """Byte for byte, so also the order of fields."""
    objects, texts = KnownObjects(), []
    for number in range(3):
        token = f"kube-api-access-{number:05}".encode()
        made = orjson.loads(orjson.dumps(draft).replace(b"kube-api-access-abcde", token))
        expected = thaw(made)
        POD.default(expected)
        expected.pop("status", None)
        objects.default(POD, made)
        made.pop("status", None)
        assert orjson.dumps(made) == orjson.dumps(expected)
        POD.prepare_create(expected)
        mark = objects.mark(POD, made)
        objects.prepare(POD, made, mark)
        assert orjson.dumps(made) == orjson.dumps(expected)
        if mark is not None:
            assert mark.in_order == (number > 0)
            objects.remember(made, mark)
        texts.append(orjson.dumps(made))
        made["spec"]["containers"] = "changed"  # what is handed out is its receiver's
    assert len(set(texts)) == (3 if b"kube-api-access" in orjson.dumps(draft) else 1)
