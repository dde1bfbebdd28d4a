"""Reading single objects for security decisions: from the watch cache, and live when it lacks them.

A decision must not fail because a cache is a moment behind (a pod's token is used right after the pod
was made), so an object that the cache does not have is asked for once more. In the server's process
both ways are memory; neither touches a socket or the disk.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.types import Client, Informer
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource


class Lookup:
    """A resource as security code sees it. The informer starts on first use."""

    def __init__(self, client: Client, resource: Resource) -> None:
        self._client = client
        self.resource = resource
        self._informer: Informer | None = None
        self._synced = False

    @property
    def informer(self) -> Informer:
        if self._informer is None:
            self._informer = self._client.informer(self.resource)
        return self._informer

    async def synced(self) -> None:
        """Return once the cache holds the first list; costs nothing afterwards."""
        if not self._synced:
            await self.informer.synced()
            self._synced = True

    async def get(self, name: str, namespace: str | None = None) -> Object | None:
        """The object or None. Raises ApiError for failures other than NotFound."""
        found = (self._informer or self.informer).get(name, namespace)
        return found if found is not None else await self.get_live(name, namespace)

    async def get_live(self, name: str, namespace: str | None = None) -> Object | None:
        """The newest state of the object or None, past the cache."""
        try:
            return await self._client.get(self.resource, name, namespace)
        except ApiError as error:
            if is_not_found(error):
                return None
            raise

    async def list(self, namespace: str | None = None) -> Sequence[Object]:
        """Everything (in a namespace), once the cache is filled."""
        if not self._synced:
            await self.synced()
        return (self._informer or self.informer).list(namespace)


class Lookups:
    """One lookup for each resource, shared by all who read it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._made: dict[Resource, Lookup] = {}

    def __call__(self, resource: Resource) -> Lookup:
        return self._made.setdefault(resource, Lookup(self._client, resource))
