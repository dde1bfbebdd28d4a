"""Entries of the watch cache: what they keep, and what many of them share."""

from __future__ import annotations

import orjson
import pytest

from minikube_py.components.apiserver.storage.entry import Entry, Shape, encode_stored
from minikube_py.components.apiserver.storage.keys import object_key, resource_prefix
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import PODS


@pytest.fixture
def shape() -> Shape:
    return Shape(PODS, resource_prefix(PODS))


def entry(shape: Shape, name: str, labels: object, namespace: str = "x") -> Entry:
    meta: Object = {"name": name, "namespace": namespace}
    if labels is not None:
        meta["labels"] = labels
    return Entry(shape, object_key(PODS, namespace, name), encode_stored({"metadata": meta}, shape), 7)


def test_equal_texts_and_labels_are_kept_once(shape: Shape) -> None:
    one, two = (entry(shape, name, {"app": "web", "hash": "1"}, "".join(["na", "me"])) for name in ("a", "b"))
    assert one.namespace is two.namespace
    assert one.labels is two.labels
    assert one.labels == {"app": "web", "hash": "1"}


@pytest.mark.parametrize("labels", [None, {}, {"app": "web"}, {"a": None}, {"a": {"b": []}}], ids=repr)
def test_labels_are_those_of_the_object(shape: Shape, labels: object) -> None:
    """Also those that validation would never have let in: somebody else may write to the datastore."""
    assert entry(shape, "a", labels).labels == (labels or {})


def test_what_is_shared_is_bounded(shape: Shape) -> None:
    found = [entry(shape, f"p-{number}", {"number": str(number)}).labels for number in range(3000)]
    assert [labels["number"] for labels in found] == [str(number) for number in range(3000)]
    again = [entry(shape, "p", orjson.loads(orjson.dumps(labels))).labels is labels for labels in found]
    assert sum(again) <= 1024
