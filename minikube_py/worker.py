"""Composes the process of a worker (``pyk3s agent``): the node half of a server, over HTTP.

Before anything starts the worker is a member of its cluster (``joining.bootstrap``); whatever keeps it from that ends
the process with one line. From then on a server that is away is waited for, for ever: pods go on, and what the kernel
holds for Services and the pod network stays.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py import agent, config, logs
from minikube_py.client.clock import SystemClock
from minikube_py.config import ServerSettings
from minikube_py.config_agent import AgentSettings, node_settings
from minikube_py.joining.bootstrap import Joined, join, node_client
from minikube_py.joining.cluster import told
from minikube_py.joining.identity import NodeFiles, ensure_placeholder, node_files
from minikube_py.machinery.clock import Clock
from minikube_py.serving.errors import explained
from minikube_py.serving.folder_lock import take_folder
from minikube_py.supervisor import Component, Ready, Supervisor

if TYPE_CHECKING:
    from minikube_py.client.http import HttpClient
    from minikube_py.client.recorder import Recorder

log = logging.getLogger(__name__)

_FREEZE_SECONDS = 5.0
"""After the start: what exists then stays, and the collector need not look at it again."""


def run_worker(settings: AgentSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError, JoinError."""
    import uvloop

    from minikube_py.host.hardening import harden, hide_arguments

    logs.configure(json=settings.log_format == "json", debug=settings.debug)
    config.clear_secret_environment()
    try:
        hide_arguments((settings.token,))
        harden(node=True)
    except OSError as error:
        log.warning("cannot give up privileges", extra={"error": str(error)})
    files = node_files(Path(settings.data_dir).resolve())
    lock = take_folder(files.lock, shown=str(files.folder), owner="pyk3s agent")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(settings, files))
    finally:
        os.close(lock)


async def _work(settings: AgentSettings, files: NodeFiles) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.call_later(_FREEZE_SECONDS, gc.freeze)
    clock = SystemClock()
    node = node_settings(settings)
    try:
        joined = await _joined_unless_stopped(settings, files, clock, stop)
        if joined is not None:
            node = told(node, joined.node_name, joined.facts)
            await asyncio.to_thread(ensure_placeholder, files.serving, joined.node_name, clock.now())
            await _run(settings.server, files, node, clock, stop)
    except BaseExceptionGroup as group:
        raise explained(group.exceptions[0], node) from group
    except Exception as error:
        raise explained(error, node) from error
    log.info("stopped")


async def _joined_unless_stopped(
    settings: AgentSettings, files: NodeFiles, clock: Clock, stop: asyncio.Event
) -> Joined | None:
    """The membership; None when the process was told to stop meanwhile."""
    joining, stopping = asyncio.ensure_future(join(settings, files, clock)), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({joining, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return joining.result() if joining.done() else None
    finally:
        for task in (joining, stopping):
            task.cancel()
        await asyncio.gather(joining, stopping, return_exceptions=True)


async def _run(url: str, files: NodeFiles, settings: ServerSettings, clock: Clock, stop: asyncio.Event) -> None:
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from minikube_py.client.recorder import Recorder

    disable_created_metrics()  # type: ignore[no-untyped-call]  # Kubernetes has no ``_created`` series
    async with node_client(url, files, clock) as client:
        recorder = Recorder(client, "kubelet", config.node_name(settings), clock=clock)
        node = agent.Node(
            settings=settings,
            client=client,
            recorder=recorder,
            proxy_client=client,
            files=agent.NodeApiFiles(files.serving, files.client_ca),
            clock=clock,
            registry=CollectorRegistry(),
        )
        await Supervisor(worker_components(settings, files, client, recorder, node, clock), clock).run(stop)


def worker_components(
    settings: ServerSettings, files: NodeFiles, client: HttpClient, recorder: Recorder, node: agent.Node, clock: Clock
) -> list[Component]:
    """The start recipe."""
    from minikube_py.joining.renewal import NodeCertificates

    certificates = NodeCertificates(client, files, config.node_name(settings), config.node_ip(settings), clock)
    return [
        agent.runtime_component(settings, clock),
        Component("certificates", certificates.run),
        *agent.node_components(settings, lambda: node, api="certificates"),
        Component("events", partial(_events, recorder)),
    ]


async def _events(recorder: Recorder, ready: Ready) -> None:
    ready()
    await recorder.run()
