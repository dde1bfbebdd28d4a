"""Composes a server process: what starts, in which order, with what.

The recipe is ``server_components``; the parts are in ``serving``. ``foundation`` opens the datastore and the PKI
and makes the API server; containerd starts beside it; everything else follows as its needs become ready. A failure of
a vital part at the start ends the process with one line (``StartError``); later failures are the
supervisor's.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from weakref import WeakSet

from minikube_py import agent, config, logs, plugging
from minikube_py.client.clock import SystemClock
from minikube_py.client.workqueue import queues_of_context
from minikube_py.config import ServerSettings
from minikube_py.serving import api, etcd, foundation, loops
from minikube_py.serving.errors import explained
from minikube_py.serving.folder_lock import take_folder
from minikube_py.serving.process import Part, Server
from minikube_py.supervisor import Component, Supervisor

log = logging.getLogger(__name__)

_GC_THRESHOLDS = 10_000, 2, 2_000
"""Objects rarely form cycles here; with Python's own thresholds the collector walks all caches many times a second.
What is young is looked at in portions that hold the event loop for a few milliseconds at most; twenty young
generations at once, of objects that somebody deletes or lists by thousands, took eighty."""
_FREEZE_SECONDS = 5.0
"""After the start: what exists then (modules, kinds, schemas) stays, and the collector need not look at it again."""


def run_server(settings: ServerSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError."""
    import uvloop

    from minikube_py.host.hardening import harden, hide_arguments

    logs.configure(json=settings.log_format == "json", debug=settings.debug)
    config.clear_secret_environment()
    try:
        hide_arguments(config.secret_arguments(settings))
        harden(node=not settings.disable_agent)
    except OSError as error:
        log.warning("cannot give up privileges", extra={"error": str(error)})
    data = Path(settings.data_dir).resolve()
    lock = take_folder(data / "server" / "lock", shown=f"data folder {data}", owner="pyk3s server")
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    finally:
        os.close(lock)


async def _serve(settings: ServerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.call_later(_FREEZE_SECONDS, gc.freeze)
    clock = SystemClock()
    queues_of_context.set(WeakSet())  # of all components; the API server's metrics show them
    server = Server(settings, clock)
    if await asyncio.to_thread(plugging.present, plugging.plugins_folder(server.data)):
        await asyncio.to_thread(server.load_plugins)
    supervisor = Supervisor(server_components(server), clock)
    server.supervisor = supervisor
    try:
        await supervisor.run(stop)
    except BaseExceptionGroup as group:
        raise explained(group.exceptions[0], settings) from group
    except Exception as error:
        raise explained(error, settings) from error
    log.info("stopped")


def server_components(server: Server) -> Sequence[Component]:
    """The start recipe."""
    settings = server.settings

    def part(name: str, run: Part, *, needs: tuple[str, ...] = ("apiserver",), vital: bool = False) -> Component:
        return Component(name, partial(run, server), needs, vital)

    components = [part("foundation", foundation.run_foundation, needs=(), vital=True)]
    if not settings.disable_agent:
        components.append(agent.runtime_component(settings, server.clock))
    components.append(part("apiserver", api.run_apiserver, needs=("foundation",), vital=True))
    if settings.etcd_listen:
        components.append(part("etcd", etcd.run_etcd, needs=("foundation",), vital=True))
    if not settings.disable_controller_manager:
        components.append(part("controllers", loops.run_controller_manager))
        components.append(part("role-aggregation", loops.run_role_aggregation))
        components.append(part("admission-policy-status", loops.run_policy_status))
        components.append(part("service-account-tokens", loops.run_token_secrets))
    if not settings.disable_scheduler:
        components.append(part("scheduler", loops.run_scheduler))
    if not settings.disable_agent:
        components += agent.node_components(settings, server.node)
        components.append(part("datastore-condition", loops.run_datastore_condition, needs=("kubelet",)))
    if not settings.disable_controller_manager:
        first = ("apiserver",) if settings.disable_agent else ("kubelet",)  # so that they do not slow it down
        if "local-storage" not in settings.disable:
            components.append(part("local-path-provisioner", loops.run_local_path_provisioner, needs=first))
        if "servicelb" not in settings.disable:
            components.append(part("servicelb", loops.run_service_load_balancer, needs=first))
    components.append(part("certificates", loops.run_certificates))
    if server.plugins is not None:
        components += server.plugins.components(server.plugin_context, needs=("apiserver",))
    components.append(part("events", loops.run_events))
    return components
