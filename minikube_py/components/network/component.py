"""Keeps this node's CNI configuration equal to the pod ranges that its Node object carries; runs ``peers`` beside it.

In: the Node. Out: one conflist, written whole or not at all (the runtime watches the folder), and
an ``unreachable`` route for the cluster's pod range, so that packets to pods that do not exist
never leave the machine (routes to real pods are more specific and win). The route for Services
belongs to the proxy. Bad news (no range yet) waits for the next change of the Node: no polling.

``remove_network`` takes everything back for ``quickstart --down``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from minikube_py.client.types import Client, EventType, Informer
from minikube_py.components.network.cni import NETWORK_NAME, NetworkSettings, pod_cidrs_of, render_cni
from minikube_py.components.network.peers import Peers, pod_mtu, remove_peers
from minikube_py.host.commands import CommandFailed, run
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import NODES

log = logging.getLogger(__name__)

_lowest_priority = "4294967295"


async def run_network(client: Client, settings: NetworkSettings, clock: Clock, ready: Callable[[], None]) -> None:
    """Serve until cancelled; ``ready`` once the first configuration is in place. Raises CommandFailed."""
    await run(["ip", "route", "replace", "unreachable", settings.cluster_cidr, "metric", _lowest_priority])
    if settings.backend == "none":
        await _configure(client.informer(NODES, field_selector=f"metadata.name={settings.node_name}"), settings, ready)
        return
    nodes = client.informer(NODES)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Peers(nodes, settings, clock).run(), name="network-peers")
        await _configure(nodes, settings, ready)


async def _configure(nodes: Informer, settings: NetworkSettings, ready: Callable[[], None]) -> None:
    """Keep the CNI configuration; ``nodes`` holds this node, and maybe others."""
    mtu = await pod_mtu(settings)
    changed = asyncio.Event()

    def on_change(kind: EventType, node: Object, previous: Object | None) -> None:
        if name_of(node) != settings.node_name or kind is EventType.DELETED:
            return
        if previous is None or pod_cidrs_of(node) != pod_cidrs_of(previous):
            changed.set()

    unsubscribe = nodes.subscribe(on_change)
    try:
        await nodes.synced()
        while True:
            changed.clear()
            node = nodes.get(settings.node_name)
            cidrs = pod_cidrs_of(node) if node is not None else ()
            if cidrs:
                if await asyncio.to_thread(write_config, settings, render_cni(settings, cidrs, mtu)):
                    log.info("pod network configured", extra={"pod_cidrs": ",".join(cidrs)})
                ready()
            await changed.wait()
    finally:
        unsubscribe()


def write_config(settings: NetworkSettings, content: bytes) -> bool:
    """Write the conflist if it differs; tells whether it did. Blocks."""
    path = settings.conf_file
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == content:
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # the runtime reads only *.conf, *.conflist, *.json
    temporary.touch(0o600)
    temporary.write_bytes(content)
    temporary.replace(path)
    return True


async def remove_network(settings: NetworkSettings) -> None:
    """Remove the bridge with its pod interfaces, ways to other nodes, address allocations, the route, host port rules.

    For a node whose sandboxes are gone (each took its own interface and rules along); what an
    unclean end left goes too. Nothing there is fine.
    """
    await _remove_bridge(settings.bridge)
    if settings.backend != "none":
        await remove_peers()
    await _try(["ip", "route", "del", "unreachable", settings.cluster_cidr, "metric", _lowest_priority])
    await _remove_host_ports()
    await asyncio.to_thread(_remove_files, settings)


async def _remove_bridge(bridge: str) -> None:
    members = Path("/sys/class/net", bridge, "brif")
    with contextlib.suppress(FileNotFoundError):
        for interface in await asyncio.to_thread(os.listdir, members):
            await _try(["ip", "link", "del", interface])
    await _try(["ip", "link", "del", bridge])


async def _remove_host_ports() -> None:
    """Remove portmap's chains of our network, and its common chains when no other network uses them."""
    if shutil.which("iptables") is None:
        return
    try:
        rules = (await run(["iptables", "-t", "nat", "-S"])).decode().splitlines()
    except CommandFailed as error:
        log.debug("no iptables rules to remove", extra={"error": error.text})
        return
    for command in host_port_removals(rules):
        await _try(["iptables", "-t", "nat", *command])


def host_port_removals(rules: list[str]) -> list[list[str]]:
    """The iptables commands that remove what portmap left, from ``iptables -S`` lines. Pure.

    portmap writes the network's name into the comment of each jump to a pod's chain ``CNI-DN-…``.
    """
    commands: list[list[str]] = []
    ours, others = set(), set()
    for rule in rules:
        words = _split(rule)
        target = words[words.index("-j") + 1] if "-j" in words else ""
        if target.startswith("CNI-DN-") and words[0] == "-A":
            if any(f'name: "{NETWORK_NAME}"' in word for word in words):
                ours.add(target)
                commands.append(["-D", *words[1:]])
            else:
                others.add(target)
    for chain in sorted(ours - others):
        commands += [["-F", chain], ["-X", chain]]
    common = [word[1] for word in map(_split, rules) if word[0] == "-N" and word[1].startswith("CNI-HOSTPORT-")]
    if not others:
        jumps = [_split(rule) for rule in rules if rule.startswith("-A")]
        commands += [["-D", *words[1:]] for words in jumps if words[1] in _BUILT_IN and words[-1] in common]
        commands += [[flag, chain] for flag in ("-F", "-X") for chain in common]
    return commands


_BUILT_IN = frozenset({"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"})


def _split(rule: str) -> list[str]:
    return shlex.split(rule)


def _remove_files(settings: NetworkSettings) -> None:
    settings.conf_file.unlink(missing_ok=True)
    shutil.rmtree(settings.state_dir, ignore_errors=True)


async def _try(command: list[str]) -> None:
    """Remove something that may not be there: a refusal is only worth a debug line."""
    try:
        await run(command)
    except CommandFailed as error:
        log.debug("nothing to remove", extra={"command": " ".join(command), "error": error.text})
