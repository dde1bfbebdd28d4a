"""The etcd face: keys, watches on one stream, and requests that clients other than etcdctl make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from datastore_etcd_client import EtcdStore, method, served_by_etcd

from minikube_py.datastore.etcd import watch as watching
from minikube_py.datastore.etcd.keys import bytes_of, span_of, text_of
from minikube_py.datastore.etcd.messages import message


@pytest.fixture
async def face(stores: Any) -> AsyncIterator[EtcdStore]:
    opened = await stores()
    unlimited = (("grpc.max_receive_message_length", -1),)  # as etcd's own client
    async with served_by_etcd(opened) as address, grpc.aio.insecure_channel(address, unlimited) as channel:
        yield EtcdStore(channel, opened)


@pytest.mark.parametrize(
    "key",
    [b"/a", "/é/€/😀".encode(), b"\xff\x00\x80", b"a\xc3", "\U0010ff80\U0010ffff".encode(), b"\xed\xa0\x80", b"\0"],
    ids=["ascii", "text", "bytes", "cut", "private characters", "a surrogate's bytes", "zero"],
)
def test_keys_come_back_as_they_were(key: bytes) -> None:
    text = text_of(key)
    text.encode()
    assert bytes_of(text) == key


@pytest.mark.parametrize(
    ("key", "range_end", "span"),
    [
        (b"/a", b"", ("/a", None)),
        (b"/a/", b"/a0", ("/a/", "/a0")),
        (b"/a", b"\0", ("/a", "")),
        (b"\0", b"\0", ("", "")),
        (b"/\x7f", b"/\x80", ("/\x7f", "/\x80")),
        ("/¿".encode(), b"/\xc2\xc0", ("/¿", "/À")),
        (b"/a", b"/b\xe2\x82", ("/a", "/b\u2080")),
        (b"\x80", b"\x81", ("\U0010ff80", "\U0010ff81")),
    ],
    ids=["a key", "a prefix", "from a key", "everything", "DEL", "last of a lead byte", "cut bound", "bytes"],
)
def test_ranges_of_bytes_are_ranges_of_text(key: bytes, range_end: bytes, span: tuple[str, str | None]) -> None:
    assert span_of(key, range_end) == span


async def test_sorting_and_filters(face: EtcdStore) -> None:
    for key, value in (("/a", b"3"), ("/b", b"1"), ("/c", b"2")):
        await face.create(key, value)
    await face.update("/a", b"3", expected_revision=2)
    get = method(face.channel, "KV", "Range", "RangeRequest", "RangeResponse")

    async def keys(**options: Any) -> tuple[list[bytes], bool, int]:
        found = await get(message("RangeRequest")(key=b"/", range_end=b"0", **options))
        return [kv.key for kv in found.kvs], found.more, found.count

    assert await keys(sort_target=4) == ([b"/b", b"/c", b"/a"], False, 3)
    assert await keys(sort_target=3, sort_order=2, limit=2) == ([b"/a", b"/c"], True, 3)
    assert await keys(min_mod_revision=4, max_create_revision=3) == ([b"/a"], False, 3)
    assert await keys(count_only=True) == ([], False, 3)


class Stream:
    """One watch stream of a client."""

    def __init__(self, face: EtcdStore) -> None:
        self.call = method(face.channel, "Watch", "Watch", "WatchRequest", "WatchResponse")()

    async def ask(self, **request: Any) -> None:
        await self.call.write(message("WatchRequest")(**request))

    async def create(self, key: bytes, range_end: bytes = b"", **options: Any) -> Any:
        create = message("WatchCreateRequest")(key=key, range_end=range_end, **options)
        await self.ask(create_request=create)
        return await self.read()

    async def read(self) -> Any:
        async with asyncio.timeout(30):
            return await self.call.read()


async def test_watches_share_a_stream(face: EtcdStore) -> None:
    stream = Stream(face)
    first = await stream.create(b"/a")
    second = await stream.create(b"/", b"0", filters=[0], watch_id=7, prev_kv=True)
    assert [(r.watch_id, r.created, r.header.revision) for r in (first, second)] == [(0, True, 1), (7, True, 1)]
    again = await stream.create(b"/x", watch_id=7)
    assert (again.watch_id, again.created, again.canceled) == (-1, True, True)
    await face.create("/a", b"1")
    await face.create("/ab", b"1")
    put = await stream.read()
    assert (put.watch_id, [(e.type, e.kv.key) for e in put.events]) == (0, [(0, b"/a")])
    await face.delete("/ab")
    deleted = await stream.read()
    assert (deleted.watch_id, deleted.events[0].type, deleted.events[0].prev_kv.value) == (7, 1, b"1")
    await stream.ask(cancel_request=message("WatchCancelRequest")(watch_id=7))
    cancelled = await stream.read()
    assert (cancelled.watch_id, cancelled.canceled) == (7, True)
    await stream.ask(progress_request=message("WatchProgressRequest")())
    progress = await stream.read()
    assert (progress.watch_id, progress.header.revision, len(progress.events)) == (-1, 4, 0)


async def test_progress_comes_after_the_events_up_to_it(face: EtcdStore) -> None:
    await asyncio.gather(*(face.served.create(f"/k/{n}", b"") for n in range(701)))
    stream = Stream(face)
    await stream.create(b"/", b"0", start_revision=2)
    newest = 1
    for _ in range(200):
        await stream.ask(progress_request=message("WatchProgressRequest")())
        response = await stream.read()
        if response.watch_id == -1:
            assert response.header.revision == newest
            break
        newest = response.events[-1].kv.mod_revision
    assert newest == 702


async def test_a_watch_of_a_compacted_past_is_cancelled(face: EtcdStore) -> None:
    for n in range(3):
        await face.create(f"/{n}", b"")
    await face.compact(4)
    stream = Stream(face)
    assert (await stream.create(b"/", b"0", start_revision=2)).created
    response = await stream.read()
    assert (response.canceled, response.compact_revision) == (True, 4)
    assert (await stream.create(b"/", b"0", start_revision=4)).watch_id == 1
    assert (await stream.read()).events[0].kv.key == b"/2"


async def test_large_batches_come_in_fragments(face: EtcdStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FRAGMENT_BYTES", 1000)
    for n in range(5):
        await face.served.create(f"/{n}", b"x" * 400)
    stream = Stream(face)
    await stream.create(b"/", b"0", start_revision=2, fragment=True)
    responses = [await stream.read() for _ in range(3)]
    assert [(len(r.events), r.fragment) for r in responses] == [(2, True), (2, True), (1, False)]


async def test_a_slow_reader_loses_nothing(face: EtcdStore) -> None:
    stream = Stream(face)
    await stream.create(b"/", b"0")
    value, count = b"x" * 20_000, 11_000
    for start in range(0, count, 1000):  # more than a subscription buffers, while nobody reads
        await asyncio.gather(*(face.served.create(f"/{n:05}", value[: n % 20_000]) for n in range(start, start + 1000)))
    revisions: list[int] = []
    while len(revisions) < count:
        revisions += [event.kv.mod_revision for event in (await stream.read()).events]
    assert revisions == list(range(2, count + 2))


async def test_a_request_that_is_too_large_is_refused(face: EtcdStore) -> None:
    put = method(face.channel, "KV", "Put", "PutRequest", "PutResponse")
    with pytest.raises(grpc.aio.AioRpcError, match="request is too large"):
        await put(message("PutRequest")(key=b"/a", value=b"x" * ((3 << 19) + 1)))


async def test_puts_of_all_kinds(face: EtcdStore) -> None:
    put = method(face.channel, "KV", "Put", "PutRequest", "PutResponse")
    request = message("PutRequest")
    lease = await face.grant_lease(60)
    first = await put(request(key=b"/a", value=b"1", lease=lease))
    assert first.header.revision == 2 and not first.HasField("prev_kv")
    second = await put(request(key=b"/a", ignore_value=True, prev_kv=True))
    assert (second.header.revision, second.prev_kv.value, second.prev_kv.lease) == (3, b"1", lease)
    third = await put(request(key=b"/a", value=b"3", prev_kv=True))
    assert (third.header.revision, third.prev_kv.value, third.prev_kv.version) == (4, b"1", 2)
    record = await face.get("/a")
    assert record is not None and (record.value, record.version, record.lease) == (b"3", 3, 0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"key": b""}, "key is not provided"),
        ({"key": b"/a", "lease": 99}, "requested lease not found"),
        ({"key": b"/a", "ignore_value": True}, "key not found"),
        ({"key": b"/a", "value": bytes(3 << 19)}, "request is too large"),
    ],
    ids=["no key", "no lease", "nothing to keep", "too large"],
)
async def test_puts_that_are_refused(face: EtcdStore, fields: dict[str, Any], text: str) -> None:
    put = method(face.channel, "KV", "Put", "PutRequest", "PutResponse")
    with pytest.raises(grpc.aio.AioRpcError, match=text):
        await put(message("PutRequest")(**fields))
    assert face.current_revision == 1


async def test_bytes_that_are_no_message_are_refused(face: EtcdStore) -> None:
    for name in ("Put", "Range"):
        with pytest.raises(grpc.aio.AioRpcError, match="error unmarshalling request"):
            await face.channel.unary_unary(f"/etcdserverpb.KV/{name}")(b"\xff\xff")
