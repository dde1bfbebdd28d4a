"""Puts, deletions and transactions of etcd as this store's ``Transaction``, and the outcome as answers.

The checks are those of ``server/etcdserver/api/v3rpc/key.go``, among them that no path of a
transaction changes a key twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minikube_py.datastore.etcd import errors
from minikube_py.datastore.etcd.keys import span_of, text_of
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import check_range, key_value, range_response, scan_of
from minikube_py.datastore.etcd.transport import Code
from minikube_py.datastore.transactions import (
    Compare,
    Delete,
    Operation,
    Plan,
    Put,
    Relation,
    Step,
    Target,
    Transaction,
    span_end,
)

PutResponse = message("PutResponse")
DeleteRangeResponse = message("DeleteRangeResponse")
TxnResponse = message("TxnResponse")
ResponseOp = message("ResponseOp")

MAX_OPERATIONS = 128  # etcd's default --max-txn-ops
_RELATIONS = (Relation.EQUAL, Relation.GREATER, Relation.LESS, Relation.NOT_EQUAL)
_TARGETS = (Target.VERSION, Target.CREATE, Target.MOD, Target.VALUE, Target.LEASE)
_OPERANDS = ("version", "create_revision", "mod_revision", "value", "lease")
_Spans = list[tuple[str, str]]


def put_of(request: Any) -> Put:
    """Raises EtcdError."""
    if not request.key:
        raise errors.empty_key()
    if request.ignore_value and request.value:
        raise errors.value_provided()
    if request.ignore_lease and request.lease:
        raise errors.lease_provided()
    return Put(
        text_of(request.key),
        None if request.ignore_value else request.value,
        None if request.ignore_lease else request.lease,
    )


def deletion_of(request: Any) -> Delete:
    """Raises EtcdError."""
    if not request.key:
        raise errors.empty_key()
    return Delete(*span_of(request.key, request.range_end))


def transaction_of(request: Any) -> Transaction:
    """Raises EtcdError: empty keys, too many operations, keys changed twice."""
    transaction = _converted(request)
    _written_spans([transaction])
    return transaction


def _converted(request: Any) -> Transaction:
    if max(len(request.compare), len(request.success), len(request.failure)) > MAX_OPERATIONS:
        raise errors.too_many_operations()
    return Transaction(
        [_compare_of(compare) for compare in request.compare],
        [_operation_of(operation) for operation in request.success],
        [_operation_of(operation) for operation in request.failure],
    )


def _compare_of(compare: Any) -> Compare:
    if not compare.key:
        raise errors.empty_key()
    start, end = span_of(compare.key, compare.range_end)
    operand = getattr(compare, _OPERANDS[compare.target])
    return Compare(start, _TARGETS[compare.target], _RELATIONS[compare.result], operand, end)


def _operation_of(operation: Any) -> Operation:
    match operation.WhichOneof("request"):
        case "request_put":
            return put_of(operation.request_put)
        case "request_range":
            check_range(operation.request_range)
            return scan_of(operation.request_range)
        case "request_delete_range":
            return deletion_of(operation.request_delete_range)
        case "request_txn":
            return _converted(operation.request_txn)
        case _:
            raise errors.EtcdError(Code.INVALID_ARGUMENT, "etcdserver: key not found")


def _written_spans(operations: Sequence[Operation]) -> tuple[set[str], _Spans]:
    """The keys and ranges that ``operations`` may change; raises EtcdError when one path changes a key twice."""
    puts: set[str] = set()
    spans: _Spans = []
    for operation in operations:
        if isinstance(operation, Put):
            _add_disjoint(puts, spans, {operation.key}, [])
        elif isinstance(operation, Delete):
            # Deletions may overlap each other: what one took, the other does not find.
            spans.append((operation.start, span_end(operation.start, operation.end)))
        elif isinstance(operation, Transaction):
            branches = [_written_spans(operation.success), _written_spans(operation.failure)]
            for other_puts, other_spans in branches:
                _refuse_overlap(puts, spans, other_puts, other_spans)
            for other_puts, other_spans in branches:
                puts |= other_puts
                spans += other_spans
    _refuse_overlap(puts, spans, set(), spans)
    return puts, spans


def _add_disjoint(puts: set[str], spans: _Spans, more_puts: set[str], more_spans: _Spans) -> None:
    _refuse_overlap(puts, spans, more_puts, more_spans)
    puts |= more_puts
    spans += more_spans


def _refuse_overlap(puts: set[str], spans: _Spans, more_puts: set[str], more_spans: _Spans) -> None:
    if puts & more_puts or _any_inside(puts, more_spans) or _any_inside(more_puts, spans):
        raise errors.duplicate_key()


def _any_inside(keys: set[str], spans: _Spans) -> bool:
    return any(key >= start and (not end or key < end) for start, end in spans for key in keys)


def put_response(request: Any, step: Step, header: Any) -> Any:
    previous = step.writes[0].current
    if request.prev_kv and previous is not None:
        return PutResponse(header=header, prev_kv=key_value(previous))
    return PutResponse(header=header)


def deletion_response(request: Any, step: Step, header: Any) -> Any:
    previous = [key_value(write.current) for write in step.writes if write.current] if request.prev_kv else []
    return DeleteRangeResponse(header=header, deleted=len(step.writes), prev_kvs=previous)


def transaction_response(request: Any, plan: Plan, header: Any) -> Any:
    """``header`` goes on the answer and on those inside it."""
    operations = request.success if plan.succeeded else request.failure
    responses = [_response_of(o, step, header) for o, step in zip(operations, plan.steps, strict=True)]
    return TxnResponse(header=header, succeeded=plan.succeeded, responses=responses)


def _response_of(operation: Any, step: Step | Plan, header: Any) -> Any:
    if isinstance(step, Plan):
        return ResponseOp(response_txn=transaction_response(operation.request_txn, step, header))
    match operation.WhichOneof("request"):
        case "request_put":
            return ResponseOp(response_put=put_response(operation.request_put, step, header))
        case "request_delete_range":
            return ResponseOp(response_delete_range=deletion_response(operation.request_delete_range, step, header))
        case _:
            assert step.found is not None  # a scan of a transaction that took place
            return ResponseOp(response_range=range_response(operation.request_range, step.found, header))
