"""Range requests and key-value answers, as ``server/etcdserver/apply``'s ``Range`` treats them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from minikube_py.datastore.etcd import errors
from minikube_py.datastore.etcd.keys import bytes_of, span_of
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.transactions import Scan
from minikube_py.datastore.types import RangeResult, Record

ResponseHeader = message("ResponseHeader")
RangeResponse = message("RangeResponse")
KeyValue = message("KeyValue")

_ASCEND, _DESCEND = 1, 2
_HEADER_TAG = bytes([1 << 3 | 2])
_REVISION_TAG = bytes([3 << 3])
_KVS_TAG = bytes([2 << 3 | 2])
_VARINT_BYTES = 10
_KEPT_BYTES = 8 << 20
_SORT_TARGETS: Sequence[Callable[[Record], Any]] = (
    attrgetter("key"),
    attrgetter("version"),
    attrgetter("create_revision"),
    attrgetter("mod_revision"),
    attrgetter("value"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers. The store has no raft: one member, one term, and its revision is the raft index."""

    cluster_id: int = 0x70796B3373636C75
    member_id: int = 0x70796B33736D656D
    term: int = 2
    _before: Sequence[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # All but the revision, whose tag comes last; by the length of the revision.
        constant = self.header(0).SerializeToString() + _REVISION_TAG
        before = [_HEADER_TAG + _varint(len(constant) + size) + constant for size in range(_VARINT_BYTES + 1)]
        object.__setattr__(self, "_before", before)

    def header(self, revision: int) -> Any:
        return ResponseHeader(
            cluster_id=self.cluster_id, member_id=self.member_id, revision=revision, raft_term=self.term
        )

    def encoded_header(self, revision: int) -> bytes:
        """The header as field 1, which it is in every response."""
        octets = _varint(revision)
        return self._before[len(octets)] + octets


def key_value(record: Record) -> Any:
    return KeyValue(
        key=bytes_of(record.key),
        create_revision=record.create_revision,
        mod_revision=record.mod_revision,
        version=record.version,
        value=record.value,
        lease=record.lease,
    )


def check_range(request: Any) -> None:
    """Raises EtcdError, as ``v3rpc``'s ``checkRangeRequest``."""
    if not request.key:
        raise errors.empty_key()
    if request.sort_order not in (0, _ASCEND, _DESCEND) or not 0 <= request.sort_target < len(_SORT_TARGETS):
        raise errors.invalid_sort()


def scan_of(request: Any) -> Scan:
    """What to ask the store. Sorting and filters need everything, values only for a sort by value."""
    start, end = span_of(request.key, request.range_end)
    whole = _is_filtered(request) or _is_sorted(request)
    by_value = request.sort_target == 4
    return Scan(
        start,
        end,
        revision=max(0, request.revision),
        limit=0 if whole else max(0, request.limit),
        keys_only=request.keys_only and not by_value,
        count_only=request.count_only and not _is_filtered(request),
    )


def range_response(request: Any, found: RangeResult, header: Any) -> Any:
    """The answer to a range. ``count`` is that of the whole range, filters aside, as in etcd."""
    if request.count_only:
        return RangeResponse(header=header, count=found.count)
    records, more = _selected(request, found)
    values = map(_without_value if request.keys_only else key_value, records)
    return RangeResponse(header=header, kvs=values, more=more, count=found.count)


class RangeEncoder:
    """``range_response`` as bytes, with the records that were asked for lately kept encoded.

    Lists come again and again with mostly the same records; what is kept is bounded in bytes.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Record, bytes]] = {}
        self._bytes = 0

    def response(self, request: Any, found: RangeResult, identity: Identity) -> bytes:
        if request.count_only or request.keys_only:
            data: bytes = range_response(request, found, identity.header(found.revision)).SerializeToString()
            return data
        records, more = _selected(request, found)
        kept = self._kept
        parts = [identity.encoded_header(found.revision)]
        for record in records:
            known = kept.get(record.key)
            parts.append(known[1] if known is not None and known[0] is record else self._encoded(record))
        parts.append(RangeResponse(more=more, count=found.count).SerializeToString())
        return b"".join(parts)

    def _encoded(self, record: Record) -> bytes:
        """A record as a field of RangeResponse."""
        kept = self._kept.get(record.key)
        if kept is not None:
            self._bytes -= len(kept[1])
        data = framed(_KVS_TAG, key_value(record).SerializeToString())
        if self._bytes > _KEPT_BYTES:
            self._kept.clear()
            self._bytes = 0
        self._kept[record.key] = record, data
        self._bytes += len(data)
        return data


def framed(tag: bytes, message: bytes) -> bytes:
    """A message as a field of another one."""
    return tag + _varint(len(message)) + message


def _varint(number: int) -> bytes:
    """A number that is not negative."""
    if number <= 0x7F:
        return bytes((number,))
    if 0x3FFF < number <= 0x1FFFFF:  # most revisions
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _selected(request: Any, found: RangeResult) -> tuple[Sequence[Record], bool]:
    """Filters, sorts and cuts; whether some are left out."""
    records, more = found.records, found.more
    if _is_filtered(request):
        records = [record for record in records if _passes(request, record)]
    if _is_sorted(request):
        records = sorted(records, key=_SORT_TARGETS[request.sort_target], reverse=request.sort_order == _DESCEND)
    if 0 < request.limit < len(records):
        records, more = records[: request.limit], True
    return records, more


def _is_sorted(request: Any) -> bool:
    return bool(request.sort_target != 0 or request.sort_order == _DESCEND)


def _is_filtered(request: Any) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: Any, record: Record) -> bool:
    return (
        (not request.min_mod_revision or record.mod_revision >= request.min_mod_revision)
        and (not request.max_mod_revision or record.mod_revision <= request.max_mod_revision)
        and (not request.min_create_revision or record.create_revision >= request.min_create_revision)
        and (not request.max_create_revision or record.create_revision <= request.max_create_revision)
    )


def _without_value(record: Record) -> Any:
    return KeyValue(
        key=bytes_of(record.key),
        create_revision=record.create_revision,
        mod_revision=record.mod_revision,
        version=record.version,
        lease=record.lease,
    )
