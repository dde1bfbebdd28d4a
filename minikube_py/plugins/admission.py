"""Admission hooks of plugins as one plugin of the API server's admission chain (``PythonPlugin``).

In: the hooks by kind. Each runs with a time limit; ``Deny`` refuses with 403 in the manner of webhooks, any other
failure follows the hook's failure policy. Mutating hooks get a private draft and change it in place.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence

from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.errors import ApiError, internal
from minikube_py.plugins.declaration import Deny, Hook, Request, split_kind
from minikube_py.plugins.watchdog import PluginStuck, Watchdog

log = logging.getLogger(__name__)

HookKey = tuple[str, str]
"""(apiVersion, kind)."""


class PluginHooks:
    """Implements ``AdmissionPlugin``. ``enabled`` says whether a plugin is still to be asked."""

    name = "PythonPlugin"

    def __init__(self, watchdog: Watchdog, enabled: Callable[[str], bool]) -> None:
        self._watchdog = watchdog
        self._enabled = enabled
        self._hooks: dict[HookKey, list[tuple[str, Hook]]] = {}

    def add(self, plugin: str, hooks: Sequence[Hook]) -> None:
        for hook in hooks:
            self._hooks.setdefault(split_kind(hook.kind), []).append((plugin, hook))

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._hooks) and not request.subresource and _key(request) in self._hooks

    async def admit(self, request: AdmissionRequest) -> None:
        await self._run(request, mutating=True)

    async def validate(self, request: AdmissionRequest) -> None:
        await self._run(request, mutating=False)

    async def _run(self, request: AdmissionRequest, *, mutating: bool) -> None:
        for plugin, hook in self._hooks[_key(request)]:
            if hook.mutating is mutating and request.operation in hook.operations and self._enabled(plugin):
                await self._ask(f"{plugin}.{hook.name}", hook, request)

    async def _ask(self, part: str, hook: Hook, request: AdmissionRequest) -> None:
        shown = _shown(request)
        try:
            async with asyncio.timeout(hook.timeout_seconds):
                found = self._watchdog.step(part, hook.function, shown)
                if inspect.iscoroutine(found):
                    await self._watchdog.watched(part, found)
        except Deny as error:
            raise _denied(part, str(error)) from error
        except TimeoutError:
            self._failed(part, hook, f"no answer within {hook.timeout_seconds:g} s")
        except (PluginStuck, Exception) as error:
            self._failed(part, hook, f"{type(error).__name__}: {error}")
        finally:
            request.warnings.extend(shown.warnings)

    def _failed(self, part: str, hook: Hook, why: str) -> None:
        log.error("admission hook failed", extra={"part": part, "error": why, "policy": hook.failure_policy})
        if hook.failure_policy == "Fail":
            raise internal(f"failed calling plugin {part}: {why}")


def _key(request: AdmissionRequest) -> HookKey:
    return request.kind.resource.api_version, request.kind.resource.kind


def _shown(request: AdmissionRequest) -> Request:
    return Request(
        operation=str(request.operation),
        kind=request.kind.resource.kind,
        api_version=request.kind.resource.api_version,
        namespace=request.namespace,
        name=request.name,
        user=request.user.name,
        groups=request.user.groups,
        object=request.object,
        old=request.old,
        dry_run=request.dry_run,
    )


def _denied(part: str, text: str) -> ApiError:
    details: Mapping[str, object] = {}
    return ApiError(403, "Forbidden", f"plugin {part} denied the request: {text}", details=dict(details))
