"""Shared by all unit tests: what no test may do, whatever it is about.

* The event loop is never blocked: ``blockbuster`` raises where code of the package that runs on the
  loop sleeps, waits for a lock, reads, writes, renames or deletes files, or uses SQLite or sockets
  synchronously. Looks at a file's metadata are let through; they take microseconds.
* Objects that stores and caches hand out are never changed: what they were when they were taken in
  is compared with what they are at the end of the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from blockbuster import BlockBuster

from minikube_py.client.store import Store
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.machinery.objects import Object

METADATA_LOOKS = (
    "os.access", "os.getcwd", "os.listdir", "os.path.abspath", "os.path.islink", "os.path.ismount",
    "os.path.sameopenfile", "os.path.samestat", "os.readlink", "os.scandir", "os.stat", "os.statvfs",
)  # fmt: skip


@pytest.fixture(autouse=True)
def loop_is_never_blocked() -> Iterator[None]:
    guard = BlockBuster("minikube_py")
    for name in (*METADATA_LOOKS, "threading.Lock.acquire", "threading.Lock.acquire_lock"):
        del guard.functions[name]  # the locks are those of executors and queues, held for microseconds
    for function in guard.functions.values():
        # a module that is imported on first use is read once in a process
        function.can_block_in("<frozen importlib._bootstrap>", "_find_and_load")
        # so is the bundle of definitions, which a server reads in a thread before it listens
        function.can_block_in("machinery/definitions.py", "open_bundle")
        # a file in memory
        function.can_block_in("host/commands.py", "_readable")
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


@pytest.fixture(autouse=True)
def shared_objects_are_never_changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    taken: list[tuple[Object, bytes]] = []
    put, parsed = Store.put, Entry.object.fget
    assert parsed is not None

    def watched_put(store: Store, obj: Object) -> Object | None:
        taken.append((obj, orjson.dumps(obj)))
        return put(store, obj)

    def watched_object(entry: Any) -> Object:
        fresh = entry._object is None
        found: Object = parsed(entry)
        if fresh:
            taken.append((found, orjson.dumps(found)))
        return found

    monkeypatch.setattr(Store, "put", watched_put)
    monkeypatch.setattr(Entry, "object", property(watched_object))
    yield
    changed = [before for obj, before in taken if orjson.dumps(obj) != before]
    assert not changed, f"a shared object was changed; it was {changed[0].decode()}"
