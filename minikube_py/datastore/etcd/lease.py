"""etcd's Lease service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from minikube_py.datastore.etcd import errors
from minikube_py.datastore.etcd.keys import bytes_of
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity
from minikube_py.datastore.etcd.transport import Call
from minikube_py.datastore.transactions import TransactionalStore
from minikube_py.datastore.types import LeaseNotFound

LeaseGrantResponse = message("LeaseGrantResponse")
LeaseRevokeResponse = message("LeaseRevokeResponse")
LeaseKeepAliveResponse = message("LeaseKeepAliveResponse")
LeaseTimeToLiveResponse = message("LeaseTimeToLiveResponse")
LeaseLeasesResponse = message("LeaseLeasesResponse")
LeaseStatus = message("LeaseStatus")

_MAX_TTL_SECONDS = 9_000_000_000  # lease.MaxLeaseTTL


class LeaseService:
    """Handlers; each raises EtcdError or a store's error."""

    def __init__(self, store: TransactionalStore, identity: Identity) -> None:
        self._store = store
        self._identity = identity

    async def grant(self, request: Any, call: Call) -> Any:
        """A TTL below a second becomes one second, as etcd raises it to its minimum."""
        if request.TTL > _MAX_TTL_SECONDS:
            raise errors.lease_ttl_too_large()
        if request.ID and request.ID in await self._store.leases():
            raise errors.lease_exists()
        ttl = max(1, request.TTL)
        lease = await self._store.grant_lease(ttl, lease=request.ID)
        return LeaseGrantResponse(header=self._header(), ID=lease, TTL=ttl)

    async def revoke(self, request: Any, call: Call) -> Any:
        await self._store.revoke_lease(request.ID)
        return LeaseRevokeResponse(header=self._header())

    async def keep_alive(self, requests: AsyncIterator[Any], call: Call) -> None:
        """A lease that is gone is answered with TTL 0."""
        async for request in requests:
            try:
                ttl = await self._store.keep_alive(request.ID)
            except LeaseNotFound:
                ttl = 0
            response = LeaseKeepAliveResponse(header=self._header(), ID=request.ID, TTL=ttl)
            await call.write(response.SerializeToString())

    async def time_to_live(self, request: Any, call: Call) -> Any:
        """A lease that is gone is answered with TTL -1."""
        try:
            status = await self._store.lease_status(request.ID)
        except LeaseNotFound:
            return LeaseTimeToLiveResponse(header=self._header(), ID=request.ID, TTL=-1)
        return LeaseTimeToLiveResponse(
            header=self._header(),
            ID=request.ID,
            TTL=int(status.remaining_seconds),
            grantedTTL=status.ttl_seconds,
            keys=map(bytes_of, status.keys) if request.keys else (),
        )

    async def leases(self, request: Any, call: Call) -> Any:
        return LeaseLeasesResponse(
            header=self._header(), leases=[LeaseStatus(ID=lease) for lease in await self._store.leases()]
        )

    def _header(self) -> Any:
        return self._identity.header(self._store.current_revision)
