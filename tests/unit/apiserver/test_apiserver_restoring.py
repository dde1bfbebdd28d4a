"""Strategically patched data back in its Go types."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.apiserver.registry.restoring import restore
from minikube_py.machinery.schema import Schema, definitions


def definition(name: str) -> Schema:
    found = definitions().find(name)
    assert found
    return found


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


DEPLOYMENT, SECRET = "io.k8s.api.apps.v1.Deployment", "io.k8s.api.core.v1.Secret"
MISFITS = {
    "a text for a number": (DEPLOYMENT, {"spec": {"replicas": "3"}}, "unrecognized type: int32"),
    "a boolean for a number": (DEPLOYMENT, {"spec": {"replicas": True}}, "unrecognized type: int32"),
    "half a number": (DEPLOYMENT, {"spec": {"replicas": 3.5}}, "cannot convert float64 to int32"),
    "a number for a boolean": (DEPLOYMENT, {"spec": {"paused": 1}}, "unrecognized type: bool"),
    "a number for a structure": (DEPLOYMENT, {"spec": {"template": 5}}, "cannot restore struct from: int64"),
    "a list for a map": (DEPLOYMENT, spec(nodeSelector=[]), "cannot restore map from slice"),
    "a map for a list": (DEPLOYMENT, spec(containers={}), "cannot restore slice from map"),
    "a number for a text": (DEPLOYMENT, spec(nodeSelector={"a": 1}), "cannot convert int64 to string"),
    "a number for a text of a type": (DEPLOYMENT, spec(dnsPolicy=5), "cannot convert int64 to v1.DNSPolicy"),
    "a number for bytes": (SECRET, {"data": {"a": 5}}, "cannot restore slice from int64"),
    "texts for bytes": (SECRET, {"data": {"a": ["x"]}}, "unrecognized type: uint8"),
    "no base64": (SECRET, {"data": {"a": "%"}}, "error decoding from json: illegal base64 data at input byte 0"),
}


@pytest.mark.parametrize(("name", "value", "problem"), MISFITS.values(), ids=MISFITS)
def test_misfits(name: str, value: dict[str, Any], problem: str) -> None:
    assert restore(definition(name), value) == problem


@pytest.mark.parametrize(
    ("name", "value", "restored"),
    [
        pytest.param(DEPLOYMENT, {"spec": {"replicas": 3.0}}, {"spec": {"replicas": 3}}, id="a whole number"),
        pytest.param(DEPLOYMENT, {"spec": {"replicas": 2**32 + 1}}, {"spec": {"replicas": 1}}, id="a long one"),
        pytest.param(DEPLOYMENT, {"spec": {"replicas": 1e20}}, {"spec": {"replicas": 0}}, id="a very long one"),
        pytest.param(DEPLOYMENT, {"spec": {"replicas": None}}, {"spec": {"replicas": None}}, id="nothing"),
        pytest.param(SECRET, {"data": {"a": [1, 300]}}, {"data": {"a": "ASw="}}, id="bytes one by one"),
    ],
)
def test_conversions(name: str, value: dict[str, Any], restored: dict[str, Any]) -> None:
    assert restore(definition(name), value) == ""
    assert value == restored
