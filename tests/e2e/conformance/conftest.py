"""What the conformance tests share: a client of bare HTTP, and definitions that are removed after the test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import Cluster, wait_until
from conformance_api import Api

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="session")
def api(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Api:
    return Api(cluster, tmp_path_factory.mktemp("conformance"))


@pytest.fixture
def group() -> str:
    """An API group of the test's own."""
    return f"g{secrets.token_hex(3)}.example.com"


@pytest.fixture
def install(api: Api) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Creates definitions, waits until they are served, and removes them after the test."""
    made: list[str] = []

    def established(path: str) -> Any:
        conditions = api("GET", path).get("status", {}).get("conditions") or []
        return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)

    def create(definition: dict[str, Any]) -> dict[str, Any]:
        path = f"{CRDS}/{definition['metadata']['name']}"
        made.append(path)
        api("POST", CRDS, definition)
        wait_until("Established", lambda: established(path), every=0.02)
        return dict(api("GET", path))

    yield create
    for path in made:
        api.exchange("DELETE", path)


@pytest.fixture
def core(api: Api, namespace: str) -> str:
    """The core group's path of the test's namespace, whose ServiceAccount is there."""
    path = f"/api/v1/namespaces/{namespace}"
    wait_until("default ServiceAccount", lambda: not api.gone(f"{path}/serviceaccounts/default"), every=0.02)
    return path


@pytest.fixture(scope="module")
def ground(api: Api) -> Iterator[str]:
    """The core group's path of a namespace that the tests of one file share: all of its pods start at once."""
    name = f"f-{secrets.token_hex(3)}"
    path = f"/api/v1/namespaces/{name}"
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    wait_until("default ServiceAccount", lambda: not api.gone(f"{path}/serviceaccounts/default"), every=0.02)
    yield path
    api("DELETE", path)
