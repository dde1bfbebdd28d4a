"""The gRPC server: handlers by etcd's names, on a TCP or unix socket, with or without TLS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from minikube_py.datastore.etcd import EtcdTls
from minikube_py.datastore.etcd import maintenance as upkeep
from minikube_py.datastore.etcd.errors import EtcdError, answering, translated
from minikube_py.datastore.etcd.kv import MAX_REQUEST_BYTES, KeyValueService
from minikube_py.datastore.etcd.lease import LeaseService
from minikube_py.datastore.etcd.maintenance import MaintenanceService
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity
from minikube_py.datastore.etcd.watch import WatchService
from minikube_py.datastore.transactions import TransactionalStore
from minikube_py.datastore.types import DatastoreError
from minikube_py.machinery.clock import Clock

_GRACE_SECONDS = 1.0
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES + (1 << 19)),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    # Clients with keep-alive (kube-apiserver's: 30 s) must not be sent away for pinging.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
)
_AUTH_METHODS = (
    *("AuthEnable", "AuthDisable", "Authenticate", "UserAdd", "UserGet", "UserList", "UserDelete"),
    *("UserChangePassword", "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet", "RoleList", "RoleDelete"),
    *("RoleGrantPermission", "RoleRevokePermission"),
)
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}

Streaming = Callable[[Any, Any], AsyncIterator[Any]]


class _EventLoopClock:
    """``Clock`` for the periodic progress notifications."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def run_server(
    store: TransactionalStore,
    *,
    listen: str,
    tls: EtcdTls | None,
    ready: Callable[[], None],
    bound: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """See ``serve_etcd``."""
    server = grpc.aio.server(options=_OPTIONS)
    address = _bind(server, listen, tls)
    scheme = "https" if tls else "http"
    url = address if address.startswith("unix:") else f"{scheme}://{address}"
    server.add_generic_rpc_handlers(_handlers(store, Identity(), url, clock or _EventLoopClock()))
    try:
        await server.start()
        if bound is not None:
            bound(address)
        ready()
        await server.wait_for_termination()
    finally:
        await server.stop(_GRACE_SECONDS)


def _bind(server: Any, listen: str, tls: EtcdTls | None) -> str:
    try:
        if tls is None:
            port = server.add_insecure_port(listen)
        else:
            credentials = grpc.ssl_server_credentials(
                [(tls.key, tls.certificate)], tls.client_ca, require_client_auth=tls.client_ca is not None
            )
            port = server.add_secure_port(listen, credentials)
    except RuntimeError as failure:
        raise OSError(f"etcd interface: cannot listen on {listen}; is the address in use?") from failure
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def _handlers(store: TransactionalStore, identity: Identity, url: str, clock: Clock) -> tuple[Any, ...]:
    kv, leases = KeyValueService(store, identity), LeaseService(store, identity)
    maintenance, watches = MaintenanceService(store, identity, url), WatchService(store, identity, clock)
    services = {
        "etcdserverpb.KV": {
            "Range": _unary("RangeRequest", kv.range),
            "Put": _unary("PutRequest", kv.put),
            "DeleteRange": _unary("DeleteRangeRequest", kv.delete_range),
            "Txn": _unary("TxnRequest", kv.txn),
            "Compact": _unary("CompactionRequest", kv.compact),
        },
        "etcdserverpb.Watch": {
            "Watch": grpc.stream_stream_rpc_method_handler(
                answering(watches.watch), message("WatchRequest").FromString, None
            )
        },
        "etcdserverpb.Lease": {
            "LeaseGrant": _unary("LeaseGrantRequest", leases.grant),
            "LeaseRevoke": _unary("LeaseRevokeRequest", leases.revoke),
            "LeaseKeepAlive": grpc.stream_stream_rpc_method_handler(
                _answering_stream(leases.keep_alive), message("LeaseKeepAliveRequest").FromString, _serialize
            ),
            "LeaseTimeToLive": _unary("LeaseTimeToLiveRequest", leases.time_to_live),
            "LeaseLeases": _unary("LeaseLeasesRequest", leases.leases),
        },
        "etcdserverpb.Maintenance": {
            "Alarm": _unary("AlarmRequest", maintenance.alarm),
            "Status": _unary("StatusRequest", maintenance.status),
            "Defragment": _unary("DefragmentRequest", maintenance.defragment),
            "Hash": _unary("HashRequest", maintenance.hash),
            "HashKV": _unary("HashKVRequest", maintenance.hash_kv),
            "Snapshot": grpc.unary_stream_rpc_method_handler(
                _answering_stream(maintenance.snapshot), message("SnapshotRequest").FromString, _serialize
            ),
            "MoveLeader": _unary("MoveLeaderRequest", upkeep.refuse_move_leader),
            "Downgrade": _unary("DowngradeRequest", upkeep.refuse_downgrade),
        },
        "etcdserverpb.Cluster": {
            "MemberList": _unary("MemberListRequest", maintenance.member_list),
            "MemberAdd": _unary("MemberAddRequest", upkeep.refuse_member_add),
            "MemberRemove": _unary("MemberRemoveRequest", upkeep.refuse_member_change),
            "MemberUpdate": _unary("MemberUpdateRequest", upkeep.refuse_member_change),
            "MemberPromote": _unary("MemberPromoteRequest", upkeep.refuse_member_change),
        },
        "etcdserverpb.Auth": {
            "AuthStatus": _raw(maintenance.auth_status, _serialize),
            **{name: _raw(upkeep.refuse_auth, None) for name in _AUTH_METHODS},
        },
        "grpc.health.v1.Health": {"Check": _raw(_healthy, None)},
    }
    return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())


def _unary(request: str, handler: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    return grpc.unary_unary_rpc_method_handler(answering(handler), message(request).FromString, _serialize)


def _raw(handler: Callable[[Any, Any], Awaitable[Any]], serialize: Callable[[Any], bytes] | None) -> Any:
    """A method whose request is not looked at."""
    return grpc.unary_unary_rpc_method_handler(answering(handler), None, serialize)


def _answering_stream(handler: Streaming) -> Streaming:
    """``errors.answering`` for a handler that yields."""

    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async with contextlib.aclosing(handler(request, context)) as responses:  # type: ignore[type-var]
                async for response in responses:
                    yield response
        except EtcdError as failure:
            await context.abort(failure.code, failure.text)
        except DatastoreError as failure:
            error = translated(failure)
            await context.abort(error.code, error.text)

    return guarded


async def _healthy(request: Any, context: Any) -> bytes:
    return _SERVING


def _serialize(response: Any) -> bytes:
    if isinstance(response, bytes):  # encoded by its handler
        return response
    data: bytes = response.SerializeToString()
    return data
