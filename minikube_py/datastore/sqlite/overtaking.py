"""Overtaking: heartbeats go on while a batch hangs on a stalled disk.

A volatile write needs no disk, so it may be published while a batch waits for one; but the batch has
its revisions already, and may still come through. Then it would appear behind what was published after
it. So a batch that was overtaken is *moved* when it has come through: its rows, which nobody has seen,
get revisions above everything published, in one more transaction, and only then it is published. The
revisions that it had before are never used.

Until it is moved its rows must not be seen in reads of the log: the engine refuses these meanwhile
(``GroupCommit.overtaken``). If the process dies in between, the rows are found with their old revisions;
watchers who had seen later ones list anew, because those lie in the lost window (see ``volatile``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from minikube_py.datastore.intents import KeyIntent
from minikube_py.datastore.rows import POSITION_BITS, last_row_id, row_id
from minikube_py.datastore.sqlite import log
from minikube_py.datastore.types import Change, Record

_MOVE = """
    UPDATE log SET id = id + :rows,
        previous = CASE WHEN previous >= :first_row THEN previous + :rows ELSE previous END,
        create_revision = CASE WHEN create_revision >= :first THEN create_revision + :by ELSE create_revision END
    WHERE id BETWEEN :first_row AND :last_row"""


@dataclass(frozen=True, slots=True)
class Move:
    """Revisions ``first`` to ``last`` become ``first + by`` to ``last + by``; the two runs do not overlap."""

    first: int
    last: int
    by: int

    def carry_out(self, connection: sqlite3.Connection, meta: Sequence[tuple[str, int]]) -> None:
        """Move the rows and write ``meta``, in one transaction. Raises sqlite3.Error; nothing is moved then."""
        arguments = {
            "first": self.first,
            "by": self.by,
            "rows": self.by << POSITION_BITS,
            "first_row": row_id(self.first),
            "last_row": last_row_id(self.last),
        }
        log.execute_with_meta(connection, _MOVE, arguments, meta)

    def apply(self, writes: Sequence[KeyIntent]) -> None:
        """Give the accepted writes of the batch their new revisions."""
        for write in writes:
            change = write.settled_change()
            previous = self._record(change.previous) if change.previous is not None else None
            write.change = Change(self._record(change.record), previous, change.deleted)

    def _record(self, record: Record) -> Record:
        return replace(
            record,
            mod_revision=self._revision(record.mod_revision),
            create_revision=self._revision(record.create_revision),
        )

    def _revision(self, revision: int) -> int:
        return revision + self.by if revision >= self.first else revision
