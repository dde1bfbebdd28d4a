"""The examples of docs/plugins.md in a real API server, and what happens to plugins that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from open_server import Everybody
from plugin_examples import example
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.chain import PluginChain
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.scheduler.framework import Code
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import pod_info
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    Resource,
)
from minikube_py.plugging import ServedKinds, context_of
from minikube_py.plugins.host import PluginHost, read_states
from minikube_py.supervisor import Component, Supervisor

Write = Callable[[str, str], Path]
WEBSITES = Resource("example.com", "v1", "websites", "Website", namespaced=True)
CRD: dict[str, Any] = {
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
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


class NoRecorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, regarding: Any, type: str, reason: str, message: str) -> None:
        self.events.append((reason, message))


@pytest.fixture
async def start(tmp_path: Path, folder: Path) -> AsyncIterator[Callable[[], Any]]:
    """Start a server with the plugins of the folder; gives (client, host, recorder)."""
    store = await open_sqlite(tmp_path / "state.db", clock=SystemClock())
    stop = asyncio.Event()
    made: list[Any] = []

    async def begin() -> tuple[Client, PluginHost, NoRecorder]:
        host, clock, recorder = await asyncio.to_thread(PluginHost, folder), SystemClock(), NoRecorder()
        api = ApiServer(ApiServerSettings(port=0), store, clock, CollectorRegistry())
        everybody = Everybody()
        api.secure(everybody, everybody, PluginChain([host.hooks]), {})
        kinds = ServedKinds(api)
        components = [Component("apiserver", api.run, vital=True)]
        components += host.components(lambda name: context_of(name, api, kinds, recorder, clock), ("apiserver",))
        supervisor = Supervisor(components, clock)
        running = asyncio.create_task(supervisor.run(stop))
        await supervisor.wait_ready("apiserver")
        made.extend([running, api, host])
        client = api.client()
        await client.create(NAMESPACES, {"metadata": {"name": "team-a"}})
        return client, host, recorder

    yield begin
    stop.set()
    if made:
        await asyncio.wait({made[0]})
        made[1].close()
        made[2].close()
    await store.close()


async def eventually(probe: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while True:
            try:
                found = await probe()
                if found:
                    return found
            except ApiError as error:
                if not is_not_found(error):
                    raise
            await asyncio.sleep(0.01)


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": f"d{replicas}"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


async def test_the_operator_example(start: Any, write: Write) -> None:
    write("website.py", example("website.py"))
    client, _, recorder = await start()
    # The kind comes later than the plugin.
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, CRD)
    site = {"apiVersion": "example.com/v1", "kind": "Website", "metadata": {"name": "w"}, "spec": {"text": "Hello"}}
    await eventually(lambda: client.get(CUSTOM_RESOURCE_DEFINITIONS, "websites.example.com"))
    await eventually(lambda: _created(client, site))
    page = await eventually(lambda: client.get(CONFIG_MAPS, "w-page", "team-a"))
    assert page["data"] == {"index.html": "<h1>Hello</h1>"}
    assert page["metadata"]["ownerReferences"][0]["kind"] == "Website"
    assert page["metadata"]["managedFields"][0]["manager"] == "plugin-website"

    async def reported() -> bool:
        return bool(((await client.get(WEBSITES, "w", "team-a")).get("status") or {}).get("bytes") == 14)

    async def published() -> bool:  # it follows upon the status
        return bool(recorder.events)

    await eventually(reported)
    await eventually(published)
    assert recorder.events == [("Published", "14 bytes")]
    await client.delete(CONFIG_MAPS, "w-page", "team-a")
    again = await eventually(lambda: client.get(CONFIG_MAPS, "w-page", "team-a"))
    assert again["metadata"]["uid"] != page["metadata"]["uid"]


async def _created(client: Client, site: dict[str, Any]) -> bool:
    await client.create(WEBSITES, site, "team-a")
    return True


async def test_the_admission_example(start: Any, write: Write) -> None:
    write("teams.py", example("teams.py"))
    client, _, _ = await start()
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert (await client.create(PODS, pod, "team-a"))["metadata"]["labels"] == {"team": "team-a"}
    await client.create(DEPLOYMENTS, deployment(20), "team-a")
    with pytest.raises(ApiError) as caught:
        await client.create(DEPLOYMENTS, deployment(21), "team-a")
    assert caught.value.code == 403
    assert caught.value.message == (
        "plugin teams.replicas denied the request: 21 replicas: ask the platform team for more than 20"
    )


async def test_the_scheduler_example(write: Write, folder: Path) -> None:
    write("teams.py", example("teams.py"))
    host = await asyncio.to_thread(PluginHost, folder)
    plugins, weights = host.scheduler_plugins()
    assert weights["teams.newest_node"] == 2
    filter_rule, score_rule = plugins
    node = NodeInfo("n")
    metadata = {"name": "n", "labels": {"team": "b"}, "creationTimestamp": "2026-05-01T00:00:00Z"}
    node.set_node({"metadata": metadata, "spec": {}, "status": {}})
    pod = pod_info({"metadata": {"name": "p", "namespace": "x", "labels": {"team": "a"}}, "spec": {"containers": []}})
    status = filter_rule.filter({}, pod, node)  # type: ignore[attr-defined]
    assert status.code is Code.UNSCHEDULABLE
    assert status.reasons == ("node belongs to team b",)
    assert score_rule.score({}, pod, [node]) == [100.0]  # type: ignore[attr-defined]
    host.close()


HEAD = "import asyncio\nfrom minikube_py.plugins import Deny, Plugin\nplugin = Plugin('p')\n"


@pytest.mark.parametrize(
    ("policy", "body", "text"),
    [
        ("Fail", "raise ValueError('broken')", "failed calling plugin p.hook: ValueError: broken"),
        ("Fail", "await asyncio.sleep(60)", "failed calling plugin p.hook: no answer within 0.05 s"),
        ("Ignore", "raise ValueError('broken')", ""),
        ("Ignore", "await asyncio.sleep(60)", ""),
    ],
)
async def test_failing_hooks_follow_their_policy(start: Any, write: Write, policy: str, body: str, text: str) -> None:
    options = f"timeout_seconds=0.05, failure_policy={policy!r}"
    write("p.py", f"{HEAD}@plugin.validate('v1/ConfigMap', {options})\nasync def hook(request):\n    {body}\n")
    client, _, _ = await start()
    creation = client.create(CONFIG_MAPS, {"metadata": {"name": "c"}}, "team-a")
    if text:
        with pytest.raises(ApiError) as caught:
            await creation
        assert caught.value.code == 500
        assert text in caught.value.message
    else:
        await creation


async def test_a_crashing_background_and_a_failing_reconcile_hurt_nobody(start: Any, write: Write) -> None:
    write(
        "p.py",
        HEAD
        + "@plugin.background\nasync def crash(ctx):\n    raise RuntimeError('x')\n"
        + "@plugin.controller('v1/ConfigMap')\nasync def fail(ctx, key):\n    raise RuntimeError('y')\n",
    )
    write("q.py", HEAD.replace("'p'", "'q'") + QUIET)
    client, host, _ = await start()
    await client.create(CONFIG_MAPS, {"metadata": {"name": "c"}}, "team-a")
    marked = await eventually(lambda: client.get(CONFIG_MAPS, "c-marked", "team-a"))
    assert marked
    assert all(state.state == "Running" for state in host.states)


QUIET = """
@plugin.controller('v1/ConfigMap')
async def mark(ctx, key):
    if not key.name.endswith('-marked'):
        await ctx.apply({'apiVersion': 'v1', 'kind': 'ConfigMap',
                         'metadata': {'name': key.name + '-marked', 'namespace': key.namespace}})
"""


async def test_a_plugin_that_blocks_again_and_again_is_switched_off(write: Write, folder: Path) -> None:
    write("p.py", HEAD + "@plugin.filter\ndef spin(pod, node):\n    while True: pass\n")
    host = await asyncio.to_thread(PluginHost, folder)
    host.watchdog._stuck = 0.05
    [rule], _ = host.scheduler_plugins()
    node = NodeInfo("n")
    node.set_node({"metadata": {"name": "n"}, "spec": {}, "status": {}})
    pod = pod_info({"metadata": {"name": "p", "namespace": "x"}, "spec": {"containers": []}})
    for number in range(4):
        assert rule.filter({}, pod, node).ok  # type: ignore[attr-defined]
        assert host.enabled("p") is (number < 2)
    [state] = host.states
    assert (state.state, state.offences) == ("Disabled", 3)

    async def written() -> bool:
        return [found.state for found in await asyncio.to_thread(read_states, folder.parent.parent)] == ["Disabled"]

    await eventually(written)
    host.close()
