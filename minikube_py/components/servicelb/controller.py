"""Writes the addresses of load balancers into the status of Services; the proxy of each node does the rest.

In: Services, Nodes, EndpointSlices. Out: ``status.loadBalancer`` of Services of type LoadBalancer without a class, or
of class ``pyk3s.io/servicelb``; events as cloud providers write them. Nothing runs on a node for it, and no port is
opened that the proxy does not translate. Invariants: see ``assigning``. All servers compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, EventRecorder, EventType, WriteOptions
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.servicelb.assigning import Assignment, assign, is_ours
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, key_of, labels_of, name_of, namespace_of
from minikube_py.machinery.resources import ENDPOINT_SLICES, NODES, SERVICES

_ALL = "all"
_SERVICE_OF_SLICE = "kubernetes.io/service-name"
_WRITE = WriteOptions(field_manager="service-lb")


async def run_servicelb(
    client: Client,
    recorder: EventRecorder,
    clock: Clock,
    reserved: Collection[tuple[str, int]],
    ready: Callable[[], None],
) -> None:
    """Run until cancelled; ``reserved`` are ports that nodes need themselves."""
    balancer = ServiceLoadBalancer(client, recorder, clock, reserved)
    ready()
    await balancer.run()


class ServiceLoadBalancer:
    """The loop. Services compete for ports, so it has one key, and looks at all of them."""

    def __init__(
        self, client: Client, recorder: EventRecorder, clock: Clock, reserved: Collection[tuple[str, int]]
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._reserved = frozenset(reserved)
        self._services = client.informer(SERVICES)
        self._nodes = client.informer(NODES)
        self._slices = client.informer(ENDPOINT_SLICES)
        self._queue: WorkQueue[str] = WorkQueue(clock, name="service-lb")
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        for informer in (self._services, self._nodes, self._slices):
            await informer.synced()
        ends = [
            self._services.subscribe(self._on_service),
            self._nodes.subscribe(self._on_node),
            self._slices.subscribe(self._on_slice),
        ]
        try:
            await run_controller(self._queue, self.reconcile, name="service-lb", clock=self._clock, workers=1)
        finally:
            for end in ends:
                end()

    def _on_service(self, type: EventType, service: Object, old: Object | None) -> None:
        if _is_balanced(service) or (old is not None and _is_balanced(old)):
            self._queue.add(_ALL)

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        if old is None or type is EventType.DELETED or _what_matters(node) != _what_matters(old):
            self._queue.add(_ALL)

    def _on_slice(self, type: EventType, slice_: Object, old: Object | None) -> None:
        service = self._services.get(labels_of(slice_).get(_SERVICE_OF_SLICE, ""), namespace_of(slice_))
        if service is not None and is_ours(service) and _is_local(service):
            self._queue.add(_ALL)

    async def reconcile(self, key: str) -> None:
        """Bring every Service's status to where it should be. Raises ApiError."""
        services = [service for service in self._services.list() if _is_balanced(service)]
        local = {key_of(service): self._nodes_of(service) for service in services if _is_local(service)}
        assigned = assign(services, self._nodes.list(), local, self._reserved)
        self._told = {key: problem for key, problem in self._told.items() if key in assigned}
        for service in services:
            if is_ours(service):
                await self._write(service, assigned[key_of(service)])
            elif (service.get("spec") or {}).get("type") != "LoadBalancer":
                await self._write(service, Assignment(()))

    def _nodes_of(self, service: Object) -> set[str]:
        """The names of nodes with ready endpoints of a Service."""
        return {
            str(endpoint.get("nodeName") or "")
            for slice_ in self._slices.list(namespace_of(service))
            if labels_of(slice_).get(_SERVICE_OF_SLICE) == name_of(service)
            for endpoint in slice_.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready") is not False
        }

    async def _write(self, service: Object, assignment: Assignment) -> None:
        key = key_of(service)
        if assignment.problem and self._told.get(key) != assignment.problem:
            text = f"Error syncing load balancer: {assignment.problem}"
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", text)
        self._told[key] = assignment.problem
        wanted = [{"ip": address, "ipMode": "VIP"} for address in assignment.addresses]
        if _ingress(service) == wanted:
            return
        status = {**(service.get("status") or {}), "loadBalancer": {"ingress": wanted} if wanted else {}}
        draft = {**service, "status": status}
        try:
            await self._client.update(SERVICES, draft, namespace_of(service), subresource="status", options=_WRITE)
        except ApiError as error:
            if not is_not_found(error):
                raise
            return
        if wanted:
            self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")


def _ingress(service: Object) -> list[Object]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _is_balanced(service: Object) -> bool:
    """Whether it is a load balancer, or was one a moment ago."""
    return (service.get("spec") or {}).get("type") == "LoadBalancer" or bool(_ingress(service))


def _is_local(service: Object) -> bool:
    return (service.get("spec") or {}).get("externalTrafficPolicy") == "Local"


def _what_matters(node: Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    conditions = status.get("conditions") or ()
    ready = [each.get("status") for each in conditions if each.get("type") == "Ready"]
    return ready, status.get("addresses"), labels_of(node)
