"""A server with plugin files: the operator of docs/plugins.md works, and one that blocks is named, not obeyed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import PYK3S, Cluster, new_cluster, short_folder, wait_until

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
FREE = {part: {"type": "object", "x-kubernetes-preserve-unknown-fields": True} for part in ("spec", "status")}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "websites.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "websites", "singular": "website", "kind": "Website"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": FREE}},
            }
        ],
    },
}
BLOCKER = """
from minikube_py.plugins import Plugin

plugin = Plugin("blocker")


@plugin.validate("v1/ConfigMap", failure_policy="Ignore")
def block(request):
    while request.name == "blocked":
        pass
"""


@pytest.fixture
def control_plane() -> Iterator[Cluster]:
    folder = short_folder()
    made = new_cluster(folder, "--disable-agent", "--disable-scheduler", "--disable-controller-manager")
    plugins = made.data_dir / "server" / "plugins"
    plugins.mkdir(parents=True, mode=0o700)
    operator = DOCUMENT.read_text().split("```python\n# website.py\n")[1].split("```")[0]
    for name, code in (("website.py", operator), ("blocker.py", BLOCKER), ("broken.py", "x = (\n")):
        (plugins / name).write_text(code)
    try:
        made.start(wait=False)
        wait_until("the API", lambda: answers(made), seconds=30)
        yield made
    finally:
        made.remove()
        shutil.rmtree(folder)


def answers(cluster: Cluster) -> bool:
    return cluster.kubeconfig.exists() and cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok"


def states(cluster: Cluster) -> dict[str, str]:
    listed = cluster.run(str(PYK3S), "plugins", "list", f"--data-dir={cluster.data_dir}", "-o", "json")
    return {state["name"]: state["state"] for state in json.loads(listed)}


def test_plugins_work_and_cannot_hurt_the_server(control_plane: Cluster) -> None:
    cluster = control_plane
    assert states(cluster) == {"website": "Running", "blocker": "Running", "broken": "Failed"}
    cluster.apply(CRD)
    cluster.kubectl("wait", "--for=condition=Established", "crd/websites.example.com", "--timeout=20s")
    site = {"apiVersion": "example.com/v1", "kind": "Website", "metadata": {"name": "w"}, "spec": {"text": "Hello"}}
    cluster.apply(site)
    page = wait_until("the page", lambda: cluster.get("configmap", "w-page"), seconds=20)
    assert page["data"]["index.html"] == "<h1>Hello</h1>"
    for _ in range(3):
        cluster.kubectl("create", "configmap", "blocked", "--dry-run=server")
    wait_until("the blocker to be off", lambda: states(cluster)["blocker"] == "Disabled")
    log = cluster.log.read_text()
    assert "plugin cannot be used" in log
    assert "broken.py:1: SyntaxError" in log
    assert "plugin does not give the event loop back; interrupting it" in log
    assert "blocker.py:10" in log or "blocker.py:9" in log
    assert answers(cluster)
