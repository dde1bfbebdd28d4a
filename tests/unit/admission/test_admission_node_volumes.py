"""NodeRestriction: a node writes of volumes only that the folder of one of its own is gone."""

from __future__ import annotations

from typing import Any

import pytest
from test_admission_node_restriction import ask

from minikube_py.components.apiserver.types import Operation
from minikube_py.machinery.local_volumes import FINALIZER, NODE_ANNOTATION
from minikube_py.machinery.resources import PERSISTENT_VOLUMES

_TEXT = f'node "n1" can only remove the finalizer {FINALIZER} of volumes on itself'


def volume(node: str = "n1", finalizers: tuple[str, ...] = (FINALIZER, "other"), **spec: Any) -> dict[str, Any]:
    meta = {"name": "v", "annotations": {NODE_ANNOTATION: node}, "finalizers": list(finalizers)}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Released"}}


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        pytest.param(volume(), volume(finalizers=("other",)), "", id="its folder is gone"),
        pytest.param(volume(), volume(), "", id="nothing changes"),
        pytest.param(volume("n2"), volume("n2", ("other",)), _TEXT, id="another node's"),
        pytest.param(volume("n2"), volume(finalizers=("other",)), _TEXT, id="made its own by the same request"),
        pytest.param(volume(), volume(finalizers=()), _TEXT, id="another finalizer"),
        pytest.param(volume(), volume(finalizers=(FINALIZER, "other", "new")), _TEXT, id="a new finalizer"),
        pytest.param(volume(), volume(finalizers=("other",), claimRef={"name": "mine"}), _TEXT, id="its claim"),
    ],
)
async def test_updates(old: dict[str, Any], new: dict[str, Any], text: str) -> None:
    assert await ask(PERSISTENT_VOLUMES, new, operation=Operation.UPDATE, old=old) == text


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.DELETE])
async def test_nodes_make_and_delete_none(operation: Operation) -> None:
    refused = await ask(PERSISTENT_VOLUMES, volume(), operation=operation, old=volume())
    assert refused == f'unexpected operation "{operation.value}"'
