"""Ten thousand objects in one answer: other requests get their turn while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from types import SimpleNamespace
from typing import Any, TypeVar

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.components.apiserver.http.bulk import COPIED_AT_ONCE, SHOWN_AT_ONCE, encode_many, join_entries
from minikube_py.components.apiserver.http.call import PIECE_BYTES
from minikube_py.components.apiserver.http.negotiation import PROTOBUF, YAML, Form
from minikube_py.components.apiserver.storage.bodies import ListBodies
from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.storage.lists import MATCHED_AT_ONCE, ListOptions, read_page
from minikube_py.components.apiserver.storage.selection import select
from minikube_py.components.apiserver.storage.slices import slices
from minikube_py.datastore.types import Change, Record
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.resources import CONFIG_MAPS

COUNT = 10_000
KIND = next(kind for kind in builtin_kinds() if kind.resource == CONFIG_MAPS)
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def cache() -> WatchCache:
    template = (
        '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"m%05d","namespace":"x","labels":{"n":"%d"}},'
        '"data":{"k":"v"}}'
    )
    prefix = WatchCache(CONFIG_MAPS, (), 1).shape.prefix
    records = [
        Record(f"{prefix}x/m{number:05d}", (template % (number, number % 7)).encode(), number + 1, number + 1, 1)
        for number in range(COUNT)
    ]
    return WatchCache(CONFIG_MAPS, records, COUNT)


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    counter = Turns()
    task = asyncio.create_task(counter.run())
    yield counter
    task.cancel()
    await asyncio.wait({task})


async def counted(turns: Turns, work: Awaitable[Result]) -> tuple[Result, int]:
    before = turns.count
    result = await work
    return result, turns.count - before


@pytest.mark.parametrize("labels", ["n=3", "n!=3", "n in (1,2)", "nope"])
async def test_selectors_are_matched_in_slices(cache: WatchCache, turns: Turns, labels: str) -> None:
    caches: Any = SimpleNamespace(revision=COUNT)
    page, seen = await counted(turns, read_page(caches, cache, select(KIND, "x", labels=labels), ListOptions()))
    assert seen >= COUNT // MATCHED_AT_ONCE - 1
    expected = {"n=3": 1429, "n!=3": 8571, "n in (1,2)": 2858, "nope": 0}
    assert len(page.entries) == expected[labels]


async def test_a_list_by_labels_leaves_no_parsed_objects_behind(cache: WatchCache) -> None:
    caches: Any = SimpleNamespace(revision=COUNT)
    await read_page(caches, cache, select(KIND, "x", labels="n=3"), ListOptions())
    assert all(entry._object is None for entry in cache.unordered())


async def test_typed_lists_are_joined_in_slices(cache: WatchCache, turns: Turns) -> None:
    head = b'{"items":['
    body, seen = await counted(turns, join_entries(head, cache.entries(), full=False))
    assert seen >= COUNT // COPIED_AT_ONCE - 1
    assert body == head + b",".join([entry.item for entry in cache.entries()]) + b"]}\n"


def shown(entries: Any) -> list[Any]:
    return [entry.peek() for entry in entries]


@pytest.mark.parametrize("count", [0, 1, SHOWN_AT_ONCE, SHOWN_AT_ONCE + 1, COUNT])
async def test_encoded_lists_are_the_same_in_slices(cache: WatchCache, turns: Turns, count: int) -> None:
    entries = cache.entries()[:count]
    empty = {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}
    body, seen = await counted(turns, encode_many(empty, "items", entries, shown, Form()))
    assert orjson.loads(body) == {**empty, "items": shown(entries)}
    assert list(orjson.loads(body)) == list(empty)
    assert seen >= (count // SHOWN_AT_ONCE if count > SHOWN_AT_ONCE else 0)


@pytest.mark.parametrize("form", [Form(YAML), Form(pretty=True), Form(PROTOBUF)])
async def test_other_media_types_are_written_in_a_thread(cache: WatchCache, turns: Turns, form: Form) -> None:
    entries = cache.entries()[:200]
    empty = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}
    body, seen = await counted(turns, encode_many(empty, "items", entries, shown, form))
    assert seen >= 3
    assert body.count(b"m0") == 200


def test_list_bodies_are_kept_while_they_are_true_and_within_bounds() -> None:
    bodies = ListBodies()
    large = [bytes([number]) * (6 * 1024 * 1024) for number in range(3)]
    bodies.put(("a",), 1, large[0])
    assert bodies.get(("a",), 1) == large[0]
    assert bodies.get(("a",), 2) is None
    bodies.put(("a",), 2, large[1])
    assert (bodies.get(("a",), 1), bodies.get(("a",), 2)) == (None, large[1])
    bodies.put(("b",), 1, large[0])
    assert bodies.get(("a",), 2) is not None  # now the one used last
    bodies.put(("c",), 1, large[2])
    assert [bodies.get((key,), state) is not None for key, state in (("a", 2), ("b", 1), ("c", 1))] == [
        True,
        False,
        True,
    ]
    bodies.put(("a",), 3, b"small")
    assert (bodies.get(("a",), 2), bodies.get(("a",), 3)) == (None, None)


async def test_large_answers_come_in_pieces_and_whole(http: aiohttp.ClientSession) -> None:
    path = "/api/v1/namespaces/x/configmaps"
    for number in range(3):
        body = {"metadata": {"name": f"m{number}"}, "data": {"k": str(number) * 400_000}}
        async with http.post(path, json=body) as answer:
            assert answer.status == 201
    async with http.get(path, headers={"Accept-Encoding": "identity"}) as answer:
        plain = await answer.read()
        assert int(answer.headers["Content-Length"]) == len(plain) > 2 * PIECE_BYTES
    assert [item["data"]["k"] for item in orjson.loads(plain)["items"]] == [str(n) * 400_000 for n in range(3)]
    async with http.get(path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == plain
    async with http.head(path, headers={"Accept-Encoding": "identity"}) as answer:
        assert await answer.read() == b""
    async with http.get(f"{path}/m0") as answer:  # the connection is still usable
        assert answer.status == 200


async def test_a_watch_begins_with_all_objects_in_slices(http: aiohttp.ClientSession) -> None:
    path = "/api/v1/namespaces/x/configmaps"
    names = [f"m{number:03d}" for number in range(2 * SHOWN_AT_ONCE + 1)]
    for name in names:
        async with http.post(path, json={"metadata": {"name": name, "labels": {"n": name[-1]}}}) as answer:
            assert answer.status == 201
    seen: list[str] = []
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with http.get(f"{path}?{query}&labelSelector=n!%3D5") as answer:
        async for line in answer.content:
            event = orjson.loads(line)
            if event["type"] == "BOOKMARK":
                break
            seen.append(event["object"]["metadata"]["name"])
    assert seen == [name for name in names if name[-1] != "5"]


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([], 3, []),
        ([1, 1, 1, 1], 3, [3, 1]),
        ([80, 30, 30], 3, [1, 2]),  # by bytes, of which 100 are allowed
        ([500, 500], 3, [1, 1]),  # never less than one
        ([1, 500, 1, 1], 4, [1, 1, 2]),
        ([50, 50, 1], 3, [2, 1]),
    ],
)
def test_slices_are_bounded_in_number_and_bytes(sizes: list[int], most: int, expected: list[int]) -> None:
    entries: list[Any] = [SimpleNamespace(item=b"x" * size) for size in sizes]
    found = list(slices(entries, most, 100))
    assert [len(piece) for piece in found] == expected
    assert [entry for piece in found for entry in piece] == entries


@given(st.lists(st.tuples(st.sampled_from(("put", "delete", "list")), st.integers(0, 12)), max_size=60))
def test_lists_are_in_order_whatever_happened_before(steps: list[tuple[str, int]]) -> None:
    cache = WatchCache(CONFIG_MAPS, (), 1)
    prefix, present, revision = cache.shape.prefix, dict[str, int](), 1
    for what, number in steps:
        revision += 1
        name = f"m{number * 7 % 13:02d}"
        value = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"%b"}}' % name.encode()
        record = Record(f"{prefix}x/{name}", value, revision, revision, 1)
        if what == "put":
            cache.apply(Change(record, None, deleted=False))
            present[name] = revision
        elif what == "delete" and name in present:
            cache.apply(Change(record, None, deleted=True))
            del present[name]
        elif what == "list":
            assert [(entry.name, entry.revision) for entry in cache.entries("x")] == sorted(present.items())
    assert [(entry.name, entry.revision) for entry in cache.entries()] == sorted(present.items())
