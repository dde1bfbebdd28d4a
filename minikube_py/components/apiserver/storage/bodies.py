"""The newest bodies of typed lists, kept while they are true.

Controllers and dashboards ask for the same list again, and joining a thousand objects costs more than sending them.
A body is true for the list's metadata, which name the revision; a newer body of the same list replaces it. Small
lists are not worth keeping; the sum is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

_KEPT_BYTES = 16 * 1024 * 1024
_WORTH_KEEPING_BYTES = 64 * 1024

ListKey = tuple[object, ...]


class ListBodies:
    """See the module. Keys say which list it is, ``state`` of which moment; equal states have equal bodies."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[ListKey, tuple[object, bytes]] = OrderedDict()
        self._size = 0

    def get(self, key: ListKey, state: object) -> bytes | None:
        found = self._bodies.get(key)
        if found is None or found[0] != state:
            return None
        self._bodies.move_to_end(key)
        return found[1]

    def put(self, key: ListKey, state: object, body: bytes) -> None:
        """Keep a body, and as many of the others as fit beside it."""
        former = self._bodies.pop(key, None)
        if former is not None:
            self._size -= len(former[1])
        if not _WORTH_KEEPING_BYTES <= len(body) <= _KEPT_BYTES:
            return
        self._bodies[key] = (state, body)
        self._size += len(body)
        while self._size > _KEPT_BYTES:
            _, (_, oldest) = self._bodies.popitem(last=False)
            self._size -= len(oldest)
