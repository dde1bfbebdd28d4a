"""Lifecycle hooks (postStart, preStop): exec, http, tcp (a no-op, as upstream) and sleep."""

from __future__ import annotations

from minikube_py.components.kubelet.gotext import go_duration
from minikube_py.components.kubelet.probes.checks import Checker, Target
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object

longest_hook_seconds = 2 * 60.0 * 60.0
"""A postStart hook has no deadline of its own; this one only bounds what is lost for good."""


class HookFailure(Exception):
    """A hook did not succeed; the text goes into the event."""


async def run_hook(
    handler: Object, target: Target, *, checker: Checker, clock: Clock, timeout_seconds: float = longest_hook_seconds
) -> None:
    """Carry out a lifecycle handler; returns when it has succeeded. Raises HookFailure."""
    if "sleep" in handler:
        await clock.sleep(min(float(handler["sleep"].get("seconds") or 0), timeout_seconds))
        return
    if "tcpSocket" in handler:
        # Accepted by the API for compatibility and never carried out, as the kubelet says.
        raise HookFailure("invalid handler: tcpSocket")
    result = await checker.check(handler, target, timeout_seconds)
    if result.passed:
        return
    if "exec" in handler:
        command = " ".join(go_quote(item)[1:-1] for item in handler["exec"].get("command") or ())
        raise HookFailure(f"command '{command}' failed: {result.text}".strip())
    raise HookFailure(result.text or f"hook failed within {go_duration(timeout_seconds)}")
