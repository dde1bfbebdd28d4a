"""etcd's errors: gRPC codes and texts as in ``api/v3rpc/rpctypes/error.go``, which clients match by text."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from minikube_py.datastore.etcd.transport.status import Code, StatusError
from minikube_py.datastore.transactions import KeyNotFound, TransactionTooLarge
from minikube_py.datastore.types import (
    Compacted,
    DatastoreError,
    FutureRevision,
    LeaseNotFound,
    StoreTimeout,
    StoreUnavailable,
)


class EtcdError(StatusError):
    """An error as a client sees it."""


def empty_key() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")


def value_provided() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: value is provided")


def lease_provided() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: lease is provided")


def too_many_operations() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")


def duplicate_key() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")


def invalid_sort() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: invalid sort option")


def request_too_large() -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: request is too large")


def lease_exists() -> EtcdError:
    return EtcdError(Code.FAILED_PRECONDITION, "etcdserver: lease already exists")


def lease_ttl_too_large() -> EtcdError:
    return EtcdError(Code.OUT_OF_RANGE, "etcdserver: too large lease TTL")


def auth_not_enabled() -> EtcdError:
    return EtcdError(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")


def member_not_found() -> EtcdError:
    return EtcdError(Code.NOT_FOUND, "etcdserver: member not found")


def one_member_only() -> EtcdError:
    return EtcdError(Code.FAILED_PRECONDITION, "etcdserver: re-configuration failed due to not enough started members")


def bad_leader_transferee() -> EtcdError:
    return EtcdError(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee")


def no_downgrade() -> EtcdError:
    return EtcdError(Code.FAILED_PRECONDITION, "etcdserver: no inflight downgrade job")


COMPACTED = "etcdserver: mvcc: required revision has been compacted"


def translated(failure: Exception) -> EtcdError:
    """etcd's error for the store's. Raises what is none of the store's."""
    if not isinstance(failure, DatastoreError):
        raise failure
    match failure:
        case Compacted():
            return EtcdError(Code.OUT_OF_RANGE, COMPACTED)
        case FutureRevision():
            return EtcdError(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
        case LeaseNotFound():
            return EtcdError(Code.NOT_FOUND, "etcdserver: requested lease not found")
        case KeyNotFound():
            return EtcdError(Code.INVALID_ARGUMENT, "etcdserver: key not found")
        case TransactionTooLarge():
            return request_too_large()
        case StoreTimeout():
            return EtcdError(Code.UNAVAILABLE, "etcdserver: request timed out")
        case StoreUnavailable() if "free space" in str(failure):
            return EtcdError(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
        case _:
            return EtcdError(Code.UNAVAILABLE, f"etcdserver: {failure}")


def answering(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Give a handler's store error to the client as etcd's."""

    @functools.wraps(handler)
    async def guarded(*arguments: Any) -> Any:
        try:
            return await handler(*arguments)
        except DatastoreError as failure:
            raise translated(failure) from failure

    return guarded
