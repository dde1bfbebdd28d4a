"""A container runtime whose every request is counted and timed, as the kubelet's instrumented services do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from minikube_py.components.kubelet.metrics import KubeletMetrics
from minikube_py.components.kubelet.runtime.types import Runtime
from minikube_py.machinery.clock import Clock

OPERATIONS = {
    "version": "version",
    "status": "status",
    "run_sandbox": "run_podsandbox",
    "stop_sandbox": "stop_podsandbox",
    "remove_sandbox": "remove_podsandbox",
    "sandbox_status": "podsandbox_status",
    "list_sandboxes": "list_podsandbox",
    "create_container": "create_container",
    "start_container": "start_container",
    "stop_container": "stop_container",
    "remove_container": "remove_container",
    "container_status": "container_status",
    "list_containers": "list_containers",
    "update_resources": "update_container",
    "reopen_log": "reopen_container_log",
    "exec_sync": "exec_sync",
    "exec_url": "exec",
    "attach_url": "attach",
    "port_forward_url": "port_forward",
    "image_status": "image_status",
    "list_images": "list_images",
    "pull_image": "pull_image",
    "remove_image": "remove_image",
    "image_filesystem": "image_fs_info",
    "container_stats": "list_container_stats",
    "update_pod_cidr": "update_runtime_config",
}
"""The methods of ``Runtime`` that are one request each, and what Kubernetes calls them."""


class _Counted:
    """Everything of the runtime, with those methods replaced."""

    def __init__(self, runtime: Runtime, metrics: KubeletMetrics, clock: Clock) -> None:
        self._runtime = runtime
        for method, operation in OPERATIONS.items():
            setattr(self, method, _timed(getattr(runtime, method), operation, metrics, clock))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def counted(runtime: Runtime, metrics: KubeletMetrics, clock: Clock) -> Runtime:
    """The same runtime, counted. Raises what the runtime raises."""
    return cast(Runtime, _Counted(runtime, metrics, clock))


def _timed(
    call: Callable[..., Awaitable[Any]], operation: str, metrics: KubeletMetrics, clock: Clock
) -> Callable[..., Awaitable[Any]]:
    done, errors = metrics.operations.labels(operation), metrics.operation_errors.labels(operation)
    seconds = metrics.operation_seconds.labels(operation)

    @wraps(call)
    async def asked(*arguments: Any, **options: Any) -> Any:
        begin = clock.monotonic()
        done.inc()
        try:
            return await call(*arguments, **options)
        except Exception:
            errors.inc()
            raise
        finally:
            seconds.observe(clock.monotonic() - begin)

    return asked
