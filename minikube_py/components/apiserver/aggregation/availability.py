"""Asks aggregated servers whether they are there, and what they serve.

In: APIServices with a Service, changes of Services and EndpointSlices. Out: the condition Available with
kube-aggregator's reasons and texts (``remote_available_controller``), and what ``Aggregator`` shows in discovery.
A check follows every change, and comes every ``check_seconds`` while there is any such APIService; without one
nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from minikube_py.client.types import Client, EventType, WriteOptions
from minikube_py.components.apiserver.aggregation.aggregator import Aggregator
from minikube_py.components.apiserver.aggregation.asking import ask
from minikube_py.components.apiserver.aggregation.remote import Remote, read_remote
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.service_endpoints import NoEndpoint
from minikube_py.components.apiserver.types import AUTHENTICATED, SYSTEM_MASTERS, UserInfo
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, go_quote, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.resources import API_SERVICES, ENDPOINT_SLICES, SERVICES
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

check_seconds = 30.0
answer_seconds = 5.0
_LONGEST_ANSWER = 4 * 1024 * 1024
_WRITE = WriteOptions(field_manager="kube-apiserver")
_AGGREGATOR = UserInfo("system:kube-aggregator", (SYSTEM_MASTERS, AUTHENTICATED))
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The condition Available of an APIService, and the resources that it serves (None: not known now)."""

    available: bool
    reason: str
    message: str
    resources: Sequence[Object] | None = None


class Availability:
    """See the module. ``run`` until cancelled."""

    def __init__(self, client: Client, aggregator: Aggregator, clock: Clock) -> None:
        self._client = client
        self._aggregator = aggregator
        self._clock = clock
        self._services = Lookup(client, SERVICES)
        self._slices = Lookup(client, ENDPOINT_SLICES)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        informer = self._client.informer(API_SERVICES)
        await informer.synced()
        ends = [informer.subscribe(self._registered)]
        try:
            while not self._aggregator.remotes:
                await self._wake.wait()
                self._wake.clear()
            for lookup in (self._services, self._slices):
                await lookup.synced()
                ends.append(lookup.informer.subscribe(self._moved))
            await self._check_forever()
        finally:
            for end in ends:
                end()

    def _registered(self, event: EventType, obj: Object, old: Object | None) -> None:
        spec = obj.get("spec") or {}
        remote = read_remote(obj) if event is not EventType.DELETED else None
        if remote is None:
            self._aggregator.remove(spec.get("group") or "", spec.get("version") or "")
            return
        self._aggregator.put(remote)
        if old is None or old.get("spec") != spec:
            self._wake.set()

    def _moved(self, event: EventType, obj: Object, old: Object | None) -> None:
        """A Service or its endpoints changed: look again when an APIService names it."""
        meta = obj["metadata"]
        named = {meta["name"], labels_of(obj).get(_SERVICE_LABEL)}
        if any(r.namespace == meta.get("namespace") and r.service in named for r in self._aggregator.remotes):
            self._wake.set()

    async def _check_forever(self) -> None:
        while True:
            remotes = self._aggregator.remotes
            if remotes:
                async with asyncio.TaskGroup() as tasks:
                    for remote in remotes:
                        tasks.create_task(self._judge(remote))
            try:
                async with asyncio.timeout(check_seconds if remotes else None):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def _judge(self, remote: Remote) -> None:
        verdict = await self.check(remote)
        self._aggregator.found(remote, available=verdict.available, resources=verdict.resources)
        try:
            await self._report(remote, verdict)
        except ApiError as error:
            if not (is_not_found(error) or is_conflict(error)):
                log.warning("APIService status not written", extra={"name": remote.name, "error": str(error)})

    async def check(self, remote: Remote) -> Verdict:
        """Whether the server answers, and what it serves. Never raises."""
        problem = await self._problem(remote)
        if problem is not None:
            return problem
        url = f"{remote.url}{remote.path}"
        try:
            async with asyncio.timeout(answer_seconds):
                status, body = await ask(
                    self._aggregator.connections, remote, remote.path, _AGGREGATOR, longest=_LONGEST_ANSWER
                )
        except TimeoutError:
            why = f"Get {go_quote(url)}: context deadline exceeded"
        except (NoEndpoint, OSError, ValueError) as error:
            why = f"Get {go_quote(url)}: {error}"
        else:
            if 200 <= status < 300:
                return Verdict(True, "Passed", "all checks passed", aggregated_rows(remote, body))
            why = f"bad status from {url}: {status}"
        return Verdict(False, "FailedDiscoveryCheck", f"failing or missing response from {url}: {why}")

    async def _problem(self, remote: Remote) -> Verdict | None:
        """What is wrong with the Service, before anything is asked."""
        shown = f"service/{remote.service} in {go_quote(remote.namespace)}"
        service = await self._services.get(remote.service, remote.namespace)
        if service is None:
            return Verdict(False, "ServiceNotFound", f"{shown} is not present")
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return None
        port = next((item for item in spec.get("ports") or () if item.get("port") == remote.port), None)
        if port is None:
            return Verdict(False, "ServicePortError", f"{shown} is not listening on port {remote.port}")
        slices = [
            obj
            for obj in await self._slices.list(remote.namespace)
            if labels_of(obj).get(_SERVICE_LABEL) == remote.service
        ]
        if not slices:
            return Verdict(False, "EndpointsNotFound", f"cannot find endpointslices for {shown}")
        try:
            await self._aggregator.connections.endpoint(remote)
        except NoEndpoint:
            name = go_quote(port.get("name") or "")
            text = f"endpointslices for {shown} have no addresses with port name {name}"
            return Verdict(False, "MissingEndpoints", text)
        return None

    async def _report(self, remote: Remote, verdict: Verdict) -> None:
        live = await self._client.get(API_SERVICES, remote.name)
        if read_remote(live) != remote:
            return
        status = "True" if verdict.available else "False"
        conditions = list((live.get("status") or {}).get("conditions") or ())
        former = next((item for item in conditions if item.get("type") == "Available"), None)
        told = {"type": "Available", "status": status, "reason": verdict.reason, "message": verdict.message}
        if former is not None and all(former.get(name) == value for name, value in told.items()):
            return
        moment = (
            former["lastTransitionTime"] if former and former.get("status") == status else rfc3339(self._clock.now())
        )
        others = [item for item in conditions if item.get("type") != "Available"]
        draft = {**live, "status": {"conditions": [*others, {**told, "lastTransitionTime": moment}]}}
        await self._client.update(API_SERVICES, draft, subresource="status", options=_WRITE)


def aggregated_rows(remote: Remote, body: bytes) -> Sequence[Object] | None:
    """The resources of an APIResourceList as rows of the aggregated document; None for anything else."""
    try:
        document: Any = orjson.loads(body)
        resources = document["resources"]
        rows: dict[str, Object] = {}
        for item in resources:
            name, _, sub = str(item["name"]).partition("/")
            kind = {
                "group": item.get("group") or remote.group,
                "version": item.get("version") or remote.version,
                "kind": item["kind"],
            }
            if sub:
                part = {"subresource": sub, "responseKind": kind, "verbs": item.get("verbs") or []}
                rows[name].setdefault("subresources", []).append(part)
                continue
            row: Object = {
                "resource": name,
                "responseKind": kind,
                "scope": "Namespaced" if item.get("namespaced") else "Cluster",
                "singularResource": item.get("singularName") or "",
                "verbs": item.get("verbs") or [],
            }
            for field in ("shortNames", "categories"):
                if item.get(field):
                    row[field] = item[field]
            rows[name] = row
    except (ValueError, KeyError, TypeError):
        return None
    return list(rows.values())
