"""New objects that were found in order are remembered, so that their like need not be looked at again.

A ReplicaSet's pods, or a Job's, differ in their names alone; looking for errors in one of them costs as much as the
rest of the registry's work. ``Kind.judged_text`` says what an object's validity rests on; what is remembered of it is a
digest.
"""

from __future__ import annotations

from hashlib import blake2b

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object

_MOST_REMEMBERED = 1024

Mark = tuple[str, bytes]


class Judged:
    """See the module. Bounded; what was forgotten is looked at once more."""

    __slots__ = ("_in_order",)

    def __init__(self) -> None:
        self._in_order: set[Mark] = set()

    def mark(self, kind: Kind, draft: Object) -> Mark | None:
        """What to remember a draft by; None when it must be looked at anyway."""
        text = kind.judged_text(draft) if kind.judged_text is not None else None
        return (kind.definition, blake2b(text, digest_size=16).digest()) if text is not None else None

    def in_order(self, mark: Mark | None) -> bool:
        """Whether an object of this mark had neither errors nor warnings."""
        return mark in self._in_order

    def remember(self, mark: Mark) -> None:
        if len(self._in_order) >= _MOST_REMEMBERED:
            self._in_order.clear()
        self._in_order.add(mark)
