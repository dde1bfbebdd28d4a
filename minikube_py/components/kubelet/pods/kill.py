"""Ends containers in order: preStop hook, TERM, KILL after the grace; sidecars after the others.

The grace covers the hook and the signal together; at least two seconds are left for the signal
(kuberuntime's ``killContainer``). Sidecars end in reverse order once all regular containers (and
later sidecars) have ended, with what is left of the grace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence

import orjson

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.events import note_container
from minikube_py.components.kubelet.pods.hooks import HookFailure, run_hook
from minikube_py.components.kubelet.pods.model import (
    PRE_STOP_ANNOTATION,
    Role,
    containers,
    find_container,
    is_sidecar,
)
from minikube_py.components.kubelet.pods.state import PodState, container_name
from minikube_py.components.kubelet.probes.checks import Target, named_ports
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus, RuntimeFailure
from minikube_py.machinery.objects import Object

log = logging.getLogger(__name__)

least_stop_seconds = 2


async def kill_container(
    kit: Kit, pod: Object, status: ContainerStatus, *, grace_seconds: float, message: str = "", pod_ip: str = ""
) -> None:
    """End one container and return when it has ended. Raises RuntimeFailure."""
    name = container_name(status)
    if status.container.state is ContainerState.EXITED:
        return
    note_container(kit.recorder, pod, name, "Normal", "Killing", message or f"Stopping container {name}")
    begin = kit.clock.monotonic()
    hook = _pre_stop(pod, status)
    if hook and status.container.state is ContainerState.RUNNING and grace_seconds > 0:
        await _run_pre_stop(kit, pod, status, hook, grace_seconds, pod_ip)
    left = grace_seconds - (kit.clock.monotonic() - begin)
    try:
        await kit.runtime.stop_container(status.container.id, grace_seconds=max(int(left), least_stop_seconds))
    except RuntimeFailure as failure:
        if not failure.not_found:
            raise


def _pre_stop(pod: Object, status: ContainerStatus) -> Object | None:
    """The hook from the pod's spec, or from the container's annotation when the pod is not known any more."""
    found = find_container(pod, container_name(status))
    if found is not None:
        hook: Object | None = (found[1].get("lifecycle") or {}).get("preStop")
        return hook
    text = status.container.annotations.get(PRE_STOP_ANNOTATION)
    if not text:
        return None
    parsed: Object = orjson.loads(text)
    return parsed


async def _run_pre_stop(
    kit: Kit, pod: Object, status: ContainerStatus, hook: Object, grace: float, pod_ip: str
) -> None:
    name = container_name(status)
    found = find_container(pod, name)
    target = Target(status.container.id, pod_ip, named_ports(found[1]) if found else {})
    try:
        async with asyncio.timeout(grace):
            await run_hook(hook, target, checker=kit.checker, clock=kit.clock, timeout_seconds=grace)
    except HookFailure as failure:
        note_container(kit.recorder, pod, name, "Warning", "FailedPreStopHook", "PreStopHook failed")
        log.info("preStop hook failed", extra={"container": name, "error": str(failure)})
    except TimeoutError:
        log.info("preStop hook did not end within the grace", extra={"container": name, "grace_seconds": grace})


async def kill_containers(
    kit: Kit, pod: Object, state: PodState, *, grace_seconds: float, messages: Mapping[str, str] | None = None
) -> None:
    """End all containers of the pod in order. Raises RuntimeFailure (the first, after trying all)."""
    pod_ip = state.ips[0] if state.ips else ""
    begin = kit.clock.monotonic()
    order = [item["name"] for item in containers(pod, Role.INIT) if is_sidecar(Role.INIT, item)]
    first = [item for item in state.alive if container_name(item) not in order]
    await _all(
        [
            kill_container(
                kit,
                pod,
                item,
                grace_seconds=grace_seconds,
                pod_ip=pod_ip,
                message=(messages or {}).get(container_name(item), ""),
            )
            for item in first
        ]
    )
    for name in reversed(order):
        left = max(grace_seconds - (kit.clock.monotonic() - begin), 0)
        sidecars = [item for item in state.alive if container_name(item) == name]
        await _all([kill_container(kit, pod, item, grace_seconds=left, pod_ip=pod_ip) for item in sidecars])


async def _all(kills: Sequence[Awaitable[None]]) -> None:
    """Await all; raise the first failure once every one is through."""
    results = await asyncio.gather(*kills, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def stop_sandboxes(kit: Kit, state: PodState) -> None:
    """Stop every sandbox (which also frees its network). Raises RuntimeFailure."""
    for item in state.sandboxes:
        try:
            await kit.runtime.stop_sandbox(item.sandbox.id)
        except RuntimeFailure as failure:
            if not failure.not_found:
                raise
