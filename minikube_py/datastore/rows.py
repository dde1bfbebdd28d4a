"""Row ids: a revision and a position among the changes that share it, in one number.

A transaction of several writes has one revision; its rows differ in their position (etcd's
"sub revision"). Ids grow with revisions, and with positions inside one, so the log stays a table
that is appended to, and a range of revisions is a range of ids.
"""

from __future__ import annotations

POSITION_BITS = 20
MAX_CHANGES = 1 << POSITION_BITS  # of one revision
_LAST_POSITION = MAX_CHANGES - 1

# (id, key, value, create_revision, version, id of the row it supersedes or 0, lease, deleted)
Row = tuple[int, str, bytes, int, int, int, int, int]


def row_id(revision: int, position: int = 0) -> int:
    """
    >>> row_id(3, 1) > row_id(3) == 3 << 20
    True
    """
    return revision << POSITION_BITS | position


def last_row_id(revision: int) -> int:
    """The largest id that a row of ``revision`` can have."""
    return revision << POSITION_BITS | _LAST_POSITION


def revision_of(row: int) -> int:
    return row >> POSITION_BITS


def position_of(row: int) -> int:
    return row & _LAST_POSITION
