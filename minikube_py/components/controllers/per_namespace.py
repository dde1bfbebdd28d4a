"""Objects that every namespace must have: the ``default`` ServiceAccount and ``kube-root-ca.crt``.

``pkg/controller/serviceaccount/serviceaccounts_controller.go`` and
``pkg/controller/certificates/rootcacertpublisher``. Watches: namespaces and the kept objects, by
their name. Holds: a missing one is made again, a changed one is put right; when the certificate
authorities are rotated, every namespace gets the new bundle.
"""

from __future__ import annotations

from collections.abc import Callable

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.components.controllers.pods import namespace_is_terminating
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, name_of, namespace_of, thaw
from minikube_py.machinery.observed import Observed
from minikube_py.machinery.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource

ROOT_CA_NAME = "kube-root-ca.crt"
ROOT_CA_NOTE = "kubernetes.io/description"
ROOT_CA_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def default_account() -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}


def root_ca_map(pem: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ROOT_CA_NAME, "annotations": {ROOT_CA_NOTE: ROOT_CA_TEXT}},
        "data": {"ca.crt": pem},
    }


class PerNamespaceController:
    """Keeps one object in every active namespace."""

    def __init__(
        self, kit: Kit, name: str, resource: Resource, wanted: Callable[[], Object], source: Observed[str] | None = None
    ) -> None:
        self._kit = kit
        self._name = name
        self._resource = resource
        self._make = wanted
        self._wanted = wanted()
        self._source = source
        self._namespaces = kit.client.informer(NAMESPACES)
        self._kept = kit.client.informer(resource, field_selector=f"metadata.name={name_of(self._wanted)}")
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name=name)

    async def run(self) -> None:
        """Run until cancelled."""
        end = self._source.subscribe(self._on_source) if self._source is not None else None
        try:
            await follow(
                self._kit,
                self._name,
                self._queue,
                self.reconcile,
                (self._namespaces, self._on_namespace),
                (self._kept, self._on_kept),
            )
        finally:
            if end is not None:
                end()

    def _on_source(self) -> None:
        self._wanted = self._make()
        for namespace in self._namespaces.list():
            self._queue.add(name_of(namespace))

    def _on_namespace(self, type: EventType, namespace: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and not is_deleting(namespace):
            self._queue.add(name_of(namespace))

    def _on_kept(self, type: EventType, kept: Object, old: Object | None) -> None:
        if type is not EventType.ADDED or kept.get("data") != self._wanted.get("data"):
            self._queue.add(namespace_of(kept))

    async def reconcile(self, key: str) -> None:
        """Make sure of the object in one namespace."""
        namespace = self._namespaces.get(key)
        if namespace is None or is_deleting(namespace):
            return
        kept = self._kept.get(name_of(self._wanted), key)
        if kept is None:
            await self._create(key)
        elif kept.get("data") != self._wanted.get("data"):
            draft = thaw(kept)
            draft["data"] = dict(self._wanted["data"])
            draft["metadata"].setdefault("annotations", {}).update(self._wanted["metadata"].get("annotations") or {})
            await self._kit.client.update(self._resource, draft, key, options=WRITE)

    async def _create(self, namespace: str) -> None:
        try:
            await self._kit.client.create(self._resource, thaw(self._wanted), namespace, options=WRITE)
        except ApiError as error:
            if not (is_already_exists(error) or is_not_found(error) or namespace_is_terminating(error)):
                raise


def service_account_controller(kit: Kit) -> PerNamespaceController:
    return PerNamespaceController(kit, "serviceaccount", SERVICE_ACCOUNTS, default_account)


def root_ca_controller(kit: Kit) -> PerNamespaceController:
    source = kit.settings.root_ca
    name = "root-ca-certificate-publisher"
    return PerNamespaceController(kit, name, CONFIG_MAPS, lambda: root_ca_map(source.value), source)
