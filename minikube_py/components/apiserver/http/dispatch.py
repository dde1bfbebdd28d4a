"""From a request's meaning to the function that answers it."""

from __future__ import annotations

from typing import Protocol

from minikube_py.components.apiserver.aggregation.aggregator import Aggregator
from minikube_py.components.apiserver.http.actions import binding, eviction, scale, virtual
from minikube_py.components.apiserver.http.call import Call, Response, not_found_page
from minikube_py.components.apiserver.http.component_statuses import component_statuses
from minikube_py.components.apiserver.http.connecting import CONNECTED, admit_connection
from minikube_py.components.apiserver.http.discovery import Discovery, method_not_allowed, no_such_resource
from minikube_py.components.apiserver.http.endpoints import Endpoints
from minikube_py.components.apiserver.http.request_info import RequestInfo
from minikube_py.components.apiserver.http.resources import VERBS, get, patch_object, update_object
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.kinds import is_custom, is_virtual
from minikube_py.machinery.errors import ApiError, not_found
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object

_PARTS = {"get": get, "update": update_object, "patch": patch_object}
DEPRECATED = {
    ("", "v1", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_ACROSS_NAMESPACES = ("list", "watch")
_METHOD_VERBS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


class Streams(Protocol):
    """Answers subresources that are carried to a kubelet or a pod."""

    async def answer(self, kind: Kind, call: Call) -> Response:
        """exec, attach, portforward, log and proxy of pods; proxy of services and nodes. Raises ApiError."""


def terminating(kind: Kind, verb: str) -> ApiError:
    """405 for new objects of a kind that is on its way out."""
    message = f"{verb} not allowed while custom resource definition is terminating"
    details: Object = {"group": kind.resource.group, "kind": kind.resource.plural}
    return ApiError(405, "MethodNotAllowed", message, details=details)


class Dispatcher:
    """Answers authorized requests. ``streams`` may be None where there are no nodes (tests)."""

    def __init__(
        self,
        core: Core,
        discovery: Discovery,
        endpoints: Endpoints,
        streams: Streams | None,
        aggregator: Aggregator | None = None,
    ) -> None:
        self._core = core
        self._discovery = discovery
        self._endpoints = endpoints
        self._streams = streams
        self._aggregator = aggregator

    async def answer(self, call: Call) -> Response:
        """The answer, or ApiError."""
        info = call.info
        if self._aggregator is not None:
            served = self._aggregator.backend(info)
            if served is not None:
                return await self._aggregator.answer(call, served)
        if info.resource_request:
            return await self._resource(call)
        found = await self._endpoints.answer(call)
        if found is not None:
            return found
        if info.path == "/api" or info.path == "/apis" or info.path.startswith(("/api/", "/apis/")):
            if info.method != "GET":
                raise method_not_allowed()
            described = self._discovery.answer(call)
            if described is not None:
                return described
        return not_found_page()

    def stored(self, info: RequestInfo) -> int:
        """The number of stored objects of a request's resource, in all namespaces; 0 for an unknown one."""
        kind = self._core.kinds.get(info.group, info.version, info.resource)
        if kind is None or is_virtual(kind):
            return 0
        return self._core.cache(kind).count

    async def _resource(self, call: Call) -> Response:
        info, core = call.info, self._core
        kind = core.kinds.get(info.group, info.version, info.resource)
        if kind is None:
            if info.group and not core.kinds.has_builtin(info.group):
                return not_found_page()
            raise no_such_resource()
        if info.path.startswith("//"):
            return not_found_page()
        if info.legacy_watch or info.verb == "proxy":
            _check_prefix(kind, call)
        if kind.resource.namespaced and not info.namespace and info.verb not in _ACROSS_NAMESPACES:
            return _across_namespaces(kind, info)
        if not kind.resource.namespaced and info.namespace and info.resource != "namespaces":
            return _not_here(kind)
        deprecation = DEPRECATED.get((info.group, info.version, info.resource)) or kind.extra.get("deprecation")
        if deprecation:
            call.deprecated = True
            call.warnings.append(deprecation)
        if info.verb == "create" and kind.extra.get("terminating"):
            raise terminating(kind, info.verb)
        if info.subresource:
            return await self._subresource(kind, call)
        if is_virtual(kind):
            return await self._virtual(kind, call)
        if info.verb not in kind.verbs or info.method not in _METHOD_VERBS:
            raise method_not_allowed()
        if info.verb in ("create", "list", "deletecollection") and info.name and not _by_selector(call):
            raise method_not_allowed()
        if info.verb in ("patch", "update") and not info.name:
            raise method_not_allowed()
        return await VERBS[info.verb](core, kind, call)

    async def _virtual(self, kind: Kind, call: Call) -> Response:
        info, resource = call.info, kind.resource
        if resource.plural == "componentstatuses" and info.verb in ("get", "list", "watch"):
            return await component_statuses(self._core, kind, call)
        if info.verb != "create" or info.name or "create" not in kind.verbs:
            raise method_not_allowed()
        if resource.plural == "bindings":
            return await binding(self._core, kind, call)
        handler = self._core.virtual.get((resource.group, resource.plural, ""))
        if handler is None:
            raise no_such_resource()
        return await virtual(self._core, kind, call, handler)

    async def _subresource(self, kind: Kind, call: Call) -> Response:
        info, core = call.info, self._core
        sub = kind.subresource(info.subresource)
        if sub is None and is_custom(kind) and info.name:
            raise not_found(kind.resource.group, kind.resource.plural, info.name)
        if sub is None or not info.name:
            raise no_such_resource()
        verb = "get" if info.verb == "watch" else info.verb
        if not info.only_proxied and (verb not in sub.verbs or info.method not in _METHOD_VERBS):
            raise method_not_allowed()
        if info.subresource == "scale":
            return await scale(core, kind, call)
        if info.subresource == "binding":
            return await binding(core, kind, call)
        if info.subresource == "eviction":
            return await eviction(core, kind, call)
        handler = core.virtual.get((kind.resource.group, kind.resource.plural, info.subresource))
        if handler is not None:
            return await virtual(core, kind, call, handler)
        if info.subresource in ("exec", "attach", "portforward", "log", "proxy"):
            if self._streams is None:
                raise no_such_resource()
            if info.subresource in CONNECTED:
                await admit_connection(core, kind, call)
            return await self._streams.answer(kind, call)
        handled = _PARTS.get(verb)
        if handled is None:
            raise no_such_resource()
        return await handled(core, kind, call)


def _check_prefix(kind: Kind, call: Call) -> None:
    """Paths that begin with a verb: there are those of watches, for whole resources and their objects. ApiError."""
    info = call.info
    if is_custom(kind):  # which have no routes of their own
        return
    unscoped = kind.resource.namespaced and not info.namespace and info.name and not _by_selector(call)
    if info.verb == "proxy" or "watch" not in kind.verbs or info.subresource or unscoped:
        raise no_such_resource()
    if info.method != "GET":
        raise method_not_allowed()


def _not_here(kind: Kind) -> Response:
    """The answer where a kind's scope does not fit the path: custom kinds are looked for elsewhere, in vain."""
    if is_custom(kind):
        return not_found_page()
    raise no_such_resource()


def _across_namespaces(kind: Kind, info: RequestInfo) -> Response:
    """The answer to what cannot be done in all namespaces at once: only lists and watches can."""
    if is_custom(kind) or "list" not in kind.verbs or (info.name and info.verb != "deletecollection"):
        return _not_here(kind)
    raise method_not_allowed()


def _by_selector(call: Call) -> bool:
    """Whether the name of a collection request comes from a field selector, not from the path."""
    return "fieldSelector" in call.query
