"""What the HTTP face knows of aggregated servers: where a request goes, and what they serve.

In: the APIService objects, and what ``availability`` found out. Out: requests passed on with the identity of their
sender in ``X-Remote-*`` headers (``proxyHandler``), groups and resources for discovery, documents for OpenAPI. A
server without remote APIServices pays one look at an empty table for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from minikube_py.components.apiserver.aggregation.connections import Connections
from minikube_py.components.apiserver.aggregation.identity import identity_headers
from minikube_py.components.apiserver.aggregation.remote import Remote
from minikube_py.components.apiserver.http.call import Call, Response, answer_text
from minikube_py.components.apiserver.service_endpoints import NoEndpoint
from minikube_py.components.apiserver.streaming.passing import carry
from minikube_py.components.apiserver.streaming.relay import relay_upgrade, wants_upgrade
from minikube_py.machinery.objects import Object

if TYPE_CHECKING:
    from minikube_py.components.apiserver.http.request_info import RequestInfo


@dataclass(slots=True)
class Served:
    """What a remote serves, as the last check found it: rows of the aggregated discovery document."""

    remote: Remote
    available: bool = False
    fresh: bool = False
    resources: Sequence[Object] = field(default_factory=tuple)


class Aggregator:
    """See the module."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._served: dict[tuple[str, str], Served] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when what discovery has to show is another."""
        self._listeners.append(listener)

    def put(self, remote: Remote) -> None:
        """Take in an APIService; what was known of its server is kept while it is the same server."""
        key = (remote.group, remote.version)
        found = self._served.get(key)
        if found is None or found.remote != remote:
            self._served[key] = Served(remote)
            self._changed()

    def remove(self, group: str, version: str) -> None:
        if self._served.pop((group, version), None) is not None:
            self._changed()

    def found(self, remote: Remote, *, available: bool, resources: Sequence[Object] | None) -> None:
        """The outcome of a check; ``resources`` None: discovery failed, the former ones are stale."""
        served = self._served.get((remote.group, remote.version))
        if served is None or served.remote != remote:
            return
        before = (served.available, served.fresh, served.resources)
        served.available, served.fresh = available, resources is not None
        if resources is not None:
            served.resources = resources
        if before != (served.available, served.fresh, served.resources):
            self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def availability(self, names: Iterable[str]) -> dict[str, bool]:
        """Whether each APIService of these names is available; those of this server always are."""
        remote = {served.remote.name: served.available for served in self._served.values()}
        return {name: remote.get(name, True) for name in names}

    @property
    def remotes(self) -> list[Remote]:
        return [served.remote for served in self._served.values()]

    def of_group(self, group: str) -> list[Served]:
        return [served for (g, _), served in self._served.items() if g == group]

    def versions(self) -> list[Served]:
        """Every aggregated group version."""
        return list(self._served.values())

    def get(self, group: str, version: str) -> Served | None:
        return self._served.get((group, version))

    def backend(self, info: RequestInfo) -> Served | None:
        """Who answers a request; None: this server."""
        if not self._served:
            return None
        if info.resource_request:
            return self._served.get((info.group, info.version))
        parts = [part for part in info.path.split("/") if part]
        if len(parts) == 3 and parts[0] == "apis":
            return self._served.get((parts[1], parts[2]))
        if len(parts) == 5 and parts[:3] == ["openapi", "v3", "apis"]:
            return self._served.get((parts[3], parts[4]))
        return None

    async def answer(self, call: Call, served: Served) -> Response:
        """Pass a request on. 503 in kube-aggregator's words when the server cannot be reached."""
        remote, request = served.remote, call.request
        if not served.available:
            return answer_text("service unavailable\n", 503)
        identity = identity_headers(call.user)
        try:
            context = await self.connections.context(remote)
            if wants_upgrade(request):
                await call.started(101)
                host, port = await self.connections.endpoint(remote)
                return await relay_upgrade(
                    request, host, port, request.raw_path, context, headers=identity, server_hostname=remote.host
                )
            session = await self.connections.session(remote)
            if call.info.long_running:
                await call.started(200)
            return await carry(session, request, f"{remote.url}{request.raw_path}", identity)
        except (NoEndpoint, OSError, ValueError) as error:
            return _unreachable(error)


def _unreachable(error: BaseException) -> web.Response:
    return answer_text(f"error trying to reach service: {error}", 503)
