"""How many seats a request takes (``flowcontrol/request/width.go``).

A list takes one seat for each hundred objects that it may have to look at, ten at most. Everything else takes one:
in Kubernetes a write takes more where many watchers have to be told, but here all of them are handed the same
bytes, at some microseconds each.
"""

from __future__ import annotations

from collections.abc import Callable

OBJECTS_PER_SEAT = 100
MOST_SEATS = 10


def seats_of(verb: str, name: str, limit: str, count: Callable[[], int]) -> int:
    """Seats of a request. ``count`` gives the number of stored objects of its resource, asked for lists alone.

    ``limit`` is the query parameter as it came; a list that is limited looks at twice as many at most, since a
    selector may pass some over.
    """
    if verb != "list" or name:
        return 1
    objects = count()
    if limit.isascii() and limit.isdigit() and limit != "0":
        objects = min(objects, 2 * int(limit[:9]))
    return max(1, min(MOST_SEATS, -(-objects // OBJECTS_PER_SEAT)))
