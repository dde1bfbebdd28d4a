"""What one server keeps of the database in memory, and how it follows the log.

The current records are here, up to the row ``last_row``. Rows come from several sides (the writer,
which reads what others wrote before it adds to it; the follower; readers that make sure that they
are current), each of them a run of committed rows without gaps, because commits take place one by one
in the order of ids. ``advance`` takes what it does not have yet and publishes it: every change once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minikube_py.datastore.churn import Churn
from minikube_py.datastore.index import KeyIndex
from minikube_py.datastore.rows import Row, last_row_id, position_of, revision_of, row_id
from minikube_py.datastore.transactions import Scan, read, span_end, without_values
from minikube_py.datastore.types import Change, Compacted, RangeResult, Record, StoreCorrupt
from minikube_py.datastore.watching import WatchHub


class Mirror:
    """Only the event loop touches it."""

    def __init__(self, records: list[Record], positions: dict[str, int], revision: int, churn: Churn) -> None:
        self.index = KeyIndex(records)
        self._positions = positions
        self.last_row = last_row_id(revision)
        self.by_lease: dict[int, set[str]] = {}
        self.rows_seen = 0
        # Who wrote the rows of the batch that this server is committing; the follower may see them first.
        self.clients: dict[int, str] = {}
        self.churn = churn
        self.hub: WatchHub | None = None
        for record in records:
            self._attach(record)

    @property
    def revision(self) -> int:
        return revision_of(self.last_row)

    def newest_row(self, record: Record | None) -> int:
        """The id of the row of a current record; 0 for None."""
        return row_id(record.mod_revision, self._positions.get(record.key, 0)) if record is not None else 0

    def advance(self, rows: Iterable[Row]) -> None:
        """Apply and publish rows that are committed and follow what is known; skips known ones."""
        changes: list[Change] = []
        for row in rows:
            if row[0] <= self.last_row:
                continue
            changes.append(self._apply(row, self.clients.get(row[0], "")))
        if changes:
            self.last_row = last_row_id(changes[-1].revision)
            self._publish(changes)

    def replace(self, records: Sequence[Record], positions: dict[str, int], revision: int, compacted: int) -> None:
        """Take over a state that was reached while rows in between went away with a compaction.

        Watches end with ``Compacted``; taps get the difference as changes, deletions at ``revision``.
        """
        if revision < self.revision:
            raise went_back(self.revision, revision)
        newest = {record.key: record for record in records}
        changes = [
            Change(Record(key, b"", revision, 0, 0), before, deleted=True)
            for key, before in self.index.records.items()
            if key not in newest
        ]
        for record in records:
            known = self.index.records.get(record.key)
            if known != record:
                changes.append(Change(record, known, deleted=False))
        changes.sort(key=lambda change: change.revision)
        for change in changes:
            self._take(change)
        self._positions = positions
        self.last_row = last_row_id(revision)
        if self.hub is not None:
            self.hub.fail_watches(Compacted(self.hub.published + 1, compacted))
        self._publish(changes)

    def _apply(self, row: Row, client: str) -> Change:
        identity, key, value, create, version, _, lease, deleted = row
        record = Record(key, value, revision_of(identity), create, version, lease)
        change = Change(record, self.index.records.get(key), bool(deleted))
        self._take(change)
        self.rows_seen += 1
        position = position_of(identity)
        if position and not deleted:
            self._positions[key] = position
        else:
            self._positions.pop(key, None)
        if client:
            self.churn.add(change, client)
        return change

    def _take(self, change: Change) -> None:
        before = change.previous
        if before is not None and before.lease:
            self.by_lease.get(before.lease, set()).discard(before.key)
        self.index.apply(change)
        if not change.deleted:
            self._attach(change.record)

    def _attach(self, record: Record) -> None:
        if record.lease:
            self.by_lease.setdefault(record.lease, set()).add(record.key)

    def _publish(self, changes: Sequence[Change]) -> None:
        if self.hub is not None:
            self.hub.publish(changes, self.revision)


class Overlay:
    """The mirror's records with the writes of a batch on top, which are not committed yet."""

    def __init__(self, index: KeyIndex) -> None:
        self._index = index
        self._heads: dict[str, Record | None] = {}

    def get(self, key: str) -> Record | None:
        return self._heads[key] if key in self._heads else self._index.records.get(key)

    def between(self, start: str, end: str) -> Iterable[Record]:
        heads = {key: head for key, head in self._heads.items() if key >= start and (not end or key < end)}
        if not heads:
            return self._index.between(start, end)
        merged: dict[str, Record | None] = {record.key: record for record in self._index.between(start, end)}
        merged.update(heads)
        return [record for key in sorted(merged) if (record := merged[key]) is not None]

    def put(self, key: str, head: Record | None) -> None:
        self._heads[key] = head

    def read(self, scan: Scan, revision: int) -> RangeResult:
        """Carry out a scan of the state on top, which is that of ``revision``."""
        if not self._heads:
            return read(scan, self._index, revision)
        records = list(self.between(scan.start, span_end(scan.start, scan.end)))
        if scan.count_only:
            return RangeResult((), revision, len(records))
        page = records[: scan.limit] if scan.limit else records
        return RangeResult(without_values(page, scan.keys_only), revision, len(records), len(page) < len(records))

    def keys_of_lease(self, lease: int, attached: Iterable[str]) -> list[str]:
        """The keys that hang on a lease; ``attached`` are those of the mirror."""
        keys = {key for key in attached if key not in self._heads}
        keys |= {key for key, head in self._heads.items() if head is not None and head.lease == lease}
        return sorted(keys)


def went_back(known: int, found: int) -> StoreCorrupt:
    return StoreCorrupt(
        f"the database went back from revision {known} to {found} (restored, or failed over with a loss): "
        "restart every server to take its state over"
    )
