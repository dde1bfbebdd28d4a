"""Writes EndpointSlices and Endpoints of every Service that has a selector.

Watches: Services, pods, nodes (for zones), its slices and Endpoints. Holds: the slices of a Service
list each pod with an address once; nothing is written when nothing changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.batches import all_at_once
from minikube_py.components.controllers.endpoints.model import address_types, desired, subsets
from minikube_py.components.controllers.endpoints.slices import plan_slices
from minikube_py.components.controllers.endpoints.writing import (
    MANAGED_BY,
    SERVICE_NAME,
    delete_slice,
    new_slice,
    service_of,
    write_plan,
)
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.components.controllers.pods import is_ready, namespace_is_terminating
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import (
    Object,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    split_key,
    thaw,
)
from minikube_py.machinery.resources import ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES
from minikube_py.machinery.selectors import selector_from_map
from minikube_py.machinery.times import rfc3339

MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGER = "endpoint-controller"
HEADLESS = "service.kubernetes.io/headless"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
most_endpoint_addresses = 1000
_BY_SERVICE = "service"


def _service_of(piece: Object) -> Sequence[str]:
    return service_of(piece, MANAGER)


class EndpointsController:
    """The loop of both kinds; one pass over the pods serves both."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._services = kit.client.informer(SERVICES)
        self._pods = kit.client.informer(PODS)
        self._nodes = kit.client.informer(NODES)
        self._slices = kit.client.informer(ENDPOINT_SLICES)
        self._endpoints = kit.client.informer(ENDPOINTS)
        self._endpoints_client = kit.client_of("endpoint-controller")
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="endpointslice")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "endpointslice",
            self._queue,
            self.reconcile,
            (self._services, self._on_service),
            (self._nodes, self._on_node),
            (self._slices, self._on_slice),
            (self._endpoints, self._on_endpoints),
            (self._pods, self._on_pod),
        )

    def _on_service(self, type: EventType, service: Object, old: Object | None) -> None:
        self._queue.add(key_of(service))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        """Only what shows in an endpoint matters: address, readiness, deletion, labels, names."""
        if old is not None and type is not EventType.DELETED and _visible(pod) == _visible(old):
            return
        labels = [labels_of(pod)]
        if old is not None and labels_of(old) != labels_of(pod):
            labels.append(labels_of(old))
        for service in self._services.list(namespace_of(pod)):
            wanted = (service.get("spec") or {}).get("selector")
            if wanted and any(wanted.items() <= each.items() for each in labels):
                self._queue.add(key_of(service))

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        """A zone is copied into the endpoints of the node's pods."""
        zone = "topology.kubernetes.io/zone"
        if old is None or labels_of(old).get(zone) == labels_of(node).get(zone):
            return
        for service in self._services.list():
            self._queue.add(key_of(service))

    def _on_slice(self, type: EventType, piece: Object, old: Object | None) -> None:
        if type is EventType.ADDED and self._services.get(labels_of(piece).get(SERVICE_NAME, ""), namespace_of(piece)):
            return
        if old is not None and type is EventType.MODIFIED and old.get("endpoints") == piece.get("endpoints"):
            return
        for key in _service_of(piece):
            self._queue.add(key)

    def _on_endpoints(self, type: EventType, endpoints: Object, old: Object | None) -> None:
        if type is EventType.DELETED or (old is not None and old.get("subsets") != endpoints.get("subsets")):
            self._queue.add(key_of(endpoints))

    async def reconcile(self, key: str) -> None:
        """Bring one Service's slices and Endpoints up to date."""
        namespace, name = split_key(key)
        service = self._services.get(name, namespace)
        spec = (service or {}).get("spec") or {}
        if service is None or is_deleting(service):
            await self._forget(namespace, name)
            return
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return
        selector = selector_from_map(spec["selector"])
        pods = [pod for pod in self._pods.list(namespace) if selector.matches(labels_of(pod))]
        failure = await all_at_once(address_types(service), lambda family: self._write_slices(service, pods, family))
        await self._drop_other_families(service)
        await self._write_endpoints(service, pods)
        if failure is not None:
            raise failure

    async def _write_slices(self, service: Object, pods: Sequence[Object], family: str) -> None:
        nodes = {name_of(node): node for node in self._nodes.list()}
        present = [
            piece
            for piece in self._slices.by_index(_BY_SERVICE, key_of(service))
            if piece.get("addressType") == family and not is_deleting(piece)
        ]
        plan = plan_slices(present, desired(service, pods, nodes, family), self._kit.settings.max_endpoints_per_slice)
        labels, stamp = _slice_labels(service), self._stamp(service, pods)

        def mark(draft: Object) -> None:
            draft["metadata"]["labels"] = labels
            draft["metadata"].setdefault("annotations", {})[LAST_CHANGE] = stamp

        await write_plan(
            self._kit,
            plan,
            present,
            new_slice(service, "Service", family, labels, {LAST_CHANGE: stamp}),
            describes=lambda piece: dict(labels_of(piece)) == labels,
            mark=mark,
        )

    def _stamp(self, service: Object, pods: Sequence[Object]) -> str:
        """When the newest change happened that this write publishes (``EndpointsLastChangeTriggerTime``)."""
        found = [
            str(condition.get("lastTransitionTime") or "")
            for pod in pods
            for condition in (pod.get("status") or {}).get("conditions") or ()
            if condition.get("type") == "Ready"
        ]
        created = str(metadata(service).get("creationTimestamp") or rfc3339(self._kit.clock.now()))
        return max([created, *found])

    async def _drop_other_families(self, service: Object) -> None:
        families = address_types(service)
        for piece in self._slices.by_index(_BY_SERVICE, key_of(service)):
            if piece.get("addressType") not in families:
                await delete_slice(self._kit, piece)

    async def _write_endpoints(self, service: Object, pods: Sequence[Object]) -> None:
        namespace, name = namespace_of(service), name_of(service)
        live = self._endpoints.get(name, namespace)
        wanted = _limited(subsets(service, pods))
        labels = {**labels_of(service), ENDPOINTS_MANAGED_BY: ENDPOINTS_MANAGER}
        if _is_headless(service):
            labels[HEADLESS] = ""
        else:
            labels.pop(HEADLESS, None)
        if live is not None and (live.get("subsets") or []) == wanted and dict(labels_of(live)) == labels:
            return
        draft = thaw(live) if live is not None else _new_endpoints(service)
        draft["subsets"] = wanted
        draft["metadata"]["labels"] = labels
        draft["metadata"].setdefault("annotations", {})[LAST_CHANGE] = self._stamp(service, pods)
        try:
            if live is not None:
                await self._endpoints_client.update(ENDPOINTS, draft, namespace, options=WRITE)
            else:
                await self._endpoints_client.create(ENDPOINTS, draft, namespace, options=WRITE)
        except ApiError as error:
            if is_already_exists(error) or is_not_found(error):
                self._queue.add_rate_limited(key_of(service))
            elif not namespace_is_terminating(error):
                raise

    async def _forget(self, namespace: str, name: str) -> None:
        """The Service is gone: so are its Endpoints and slices (collection would be slower)."""
        for piece in self._slices.by_index(_BY_SERVICE, f"{namespace}/{name}"):
            await delete_slice(self._kit, piece)
        live = self._endpoints.get(name, namespace)
        if live is None or LAST_CHANGE not in annotations_of(live):
            return
        try:
            await self._endpoints_client.delete(ENDPOINTS, name, namespace)
        except ApiError as error:
            if not is_not_found(error):
                raise


def _visible(pod: Object) -> tuple[object, ...]:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    return (
        status.get("podIPs"),
        status.get("podIP"),
        status.get("phase"),
        is_ready(pod),
        is_deleting(pod),
        labels_of(pod),
        spec.get("nodeName"),
    )


def _is_headless(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def _slice_labels(service: Object) -> dict[str, str]:
    own = {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    rest = {key: value for key, value in labels_of(service).items() if key not in (*own, HEADLESS)}
    if _is_headless(service):
        own[HEADLESS] = ""
    return {**rest, **own}


def _new_endpoints(service: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": name_of(service), "namespace": namespace_of(service)},
    }


def _limited(packed: list[Object]) -> list[Object]:
    """Endpoints carry at most 1,000 addresses; slices carry them all."""
    left = most_endpoint_addresses
    for subset in packed:
        for name in ("addresses", "notReadyAddresses"):
            if name in subset:
                subset[name] = subset[name][:left]
                left -= len(subset[name])
    return [subset for subset in packed if subset.get("addresses") or subset.get("notReadyAddresses")]
