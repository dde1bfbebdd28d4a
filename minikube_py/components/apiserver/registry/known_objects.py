"""New objects that are like others before them: what was found out then is taken over.

A ReplicaSet's pods, or a Job's, differ in their names alone; defaults, preparation and the look for errors cost as much
as the rest of the registry's work. ``Kind.alike`` says what an object's like is. Remembered are a spec with its
defaults, by the spec as it came, and spec and status of an object that was found in order, by its likeness; keys are
digests. An object gets copies of its own.
"""

from __future__ import annotations

from hashlib import blake2b

import orjson

from minikube_py.machinery.kind import OWN, Kind
from minikube_py.machinery.objects import Object

_MOST_REMEMBERED = 1024
_MOST_BYTES = 1024 * 1024
_LARGEST_BYTES = 64 * 1024

_Key = tuple[str, bytes]


class Mark:
    """What an object is remembered by, and what it has of its own (see ``Likeness``).

    ``in_order``: its like had neither errors nor warnings; written by ``KnownObjects.prepare``.
    """

    __slots__ = ("in_order", "key", "own")

    def __init__(self, key: _Key, own: bytes) -> None:
        self.key = key
        self.own = own
        self.in_order = False


class _Memory:
    """JSON texts by digests; bounded in number and size. What was forgotten is found out once more."""

    __slots__ = ("_bytes", "_texts")

    def __init__(self) -> None:
        self._texts: dict[_Key, bytes] = {}
        self._bytes = 0

    def get(self, key: _Key) -> bytes | None:
        return self._texts.get(key)

    def put(self, key: _Key, text: bytes) -> None:
        if len(text) > _LARGEST_BYTES or key in self._texts:
            return
        if len(self._texts) >= _MOST_REMEMBERED or self._bytes + len(text) > _MOST_BYTES:
            self._texts.clear()
            self._bytes = 0
        self._texts[key] = text
        self._bytes += len(text)


class KnownObjects:
    """See the module."""

    __slots__ = ("_defaulted", "_in_order")

    def __init__(self) -> None:
        self._defaulted = _Memory()
        self._in_order = _Memory()

    def default(self, kind: Kind, draft: Object) -> None:
        """``Kind.default`` of a new object."""
        alike, spec = kind.alike, draft.get("spec")
        if alike is None or not isinstance(spec, dict) or "status" in draft:
            kind.default(draft)
            return
        key = _key(kind, orjson.dumps(spec))
        known = self._defaulted.get(key)
        if known is None:
            kind.default(draft)
            self._defaulted.put(key, orjson.dumps(draft["spec"]))
            return
        draft["spec"] = {}
        alike.rest(draft)
        draft["spec"] = orjson.loads(known)
        draft.pop("status", None)

    def mark(self, kind: Kind, draft: Object) -> Mark | None:
        """What to remember a draft by that is about to be prepared; None when it has no like."""
        likeness = kind.alike.likeness(draft) if kind.alike is not None else None
        return Mark(_key(kind, likeness.text), likeness.own) if likeness is not None else None

    def prepare(self, kind: Kind, draft: Object, mark: Mark | None) -> None:
        """``Kind.prepare_create``, or what came of it for a like that was in order."""
        known = self._in_order.get(mark.key) if mark is not None else None
        if known is None or mark is None or kind.alike is None:
            kind.prepare_create(draft)
            return
        mark.in_order = True
        if mark.own:
            known = known.replace(OWN, mark.own)
        draft["spec"], draft["status"] = {}, {}
        kind.alike.rest(draft)
        draft["spec"], draft["status"] = orjson.loads(known)

    def remember(self, draft: Object, mark: Mark) -> None:
        """A draft that was prepared has neither errors nor warnings."""
        text = orjson.dumps((draft["spec"], draft["status"]))
        self._in_order.put(mark.key, text.replace(mark.own, OWN) if mark.own else text)


def _key(kind: Kind, text: bytes) -> _Key:
    return kind.definition, blake2b(text, digest_size=16).digest()
