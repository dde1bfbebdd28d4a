"""Pieces of many entries that are worked on without letting others have their turn: bounded in number and in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minikube_py.components.apiserver.storage.entry import Entry


def weight(entries: Sequence[Entry]) -> int:
    """The bytes of all entries, as lists carry them."""
    return sum([len(entry.item) for entry in entries])


def slices(entries: Sequence[Entry], most: int, most_bytes: int) -> Iterator[Sequence[Entry]]:
    """All entries in their order, at most ``most`` at once, and fewer (at least one) where they are large."""
    for start in range(0, len(entries), most):
        piece = entries[start : start + most]
        if weight(piece) <= most_bytes:
            yield piece
        else:
            yield from _by_bytes(piece, most_bytes)


def _by_bytes(entries: Sequence[Entry], most_bytes: int) -> Iterator[Sequence[Entry]]:
    start = size = 0
    for number, entry in enumerate(entries):
        size += len(entry.item)
        if size > most_bytes and number > start:
            yield entries[start:number]
            start, size = number, len(entry.item)
    yield entries[start:]
