"""New objects that are like others which were found in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from minikube_py.components.apiserver.registry.judged import Judged
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
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


def test_what_is_remembered_is_bounded(api_kind: Kind) -> None:
    judged = Judged()
    marks = [judged.mark(api_kind, {"text": str(number)}) for number in range(3000)]
    for mark in marks:
        assert mark is not None
        judged.remember(mark)
    assert judged.in_order(marks[-1])
    assert 0 < sum(judged.in_order(mark) for mark in marks) <= 1024
    assert not judged.in_order(None)


@pytest.fixture
def api_kind() -> Kind:
    return Kind(PODS, "pod", "io.k8s.api.core.v1.Pod", judged_text=lambda obj: str(obj["text"]).encode())
