"""What ``pyk3s datastore`` does: check, stats, top, compact, migrate.

Each takes endpoints and returns a record of what it found or did; printing is the command line's
business. ``check``, ``stats`` and ``top`` work while a server uses the store, ``compact`` and
``migrate`` from a SQLite file need it for themselves (StoreLocked names the process that has it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from minikube_py.datastore.churn import ChurnRow
from minikube_py.datastore.endpoints import check_there, open_endpoint, sqlite_path
from minikube_py.datastore.inspecting import Inspection, inspecting
from minikube_py.datastore.rows import Row, revision_of
from minikube_py.machinery.clock import Clock

_MAX_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class CheckReport:
    """``findings`` empty: all is well. At most 100 are told, ``left_out`` counts the others."""

    rows: int
    revision: int
    findings: Sequence[str]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Bytes are of keys and values; ``superseded_rows`` (deletions among them) go with the next compactions."""

    revision: int
    compacted: int
    keys: int
    live_bytes: int
    rows: int
    superseded_rows: int
    superseded_bytes: int
    size_bytes: int
    leases: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a key, or all keys of a folder, take in the log."""

    name: str
    revisions: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TopReport:
    """The log as it is (what is not compacted), and who wrote how much since the store was made."""

    keys: Sequence[Usage]
    folders: Sequence[Usage]
    churn: Sequence[ChurnRow]


@dataclass(frozen=True, slots=True)
class CompactReport:
    revision: int
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class MigrateReport:
    rows: int
    revision: int


async def check(endpoint: str) -> CheckReport:
    """Look for damage: in the file's structure, and in what the log says."""
    async with inspecting(endpoint, deep=True) as found:
        checker = _LogCheck([f"structure: {fault}" for fault in found.faults])
        async for rows in found.rows:
            checker.look(rows)
            await asyncio.sleep(0)
        checker.finish(found)
    findings = checker.findings
    return CheckReport(checker.rows, checker.revision, findings[:_MAX_FINDINGS], max(0, len(findings) - _MAX_FINDINGS))


async def stats(endpoint: str) -> StoreStats:
    """How large it is, and how much of it is history."""
    async with inspecting(endpoint) as found:
        newest: dict[str, int] = {}
        count = total = revision = 0
        async for rows in found.rows:
            for row in rows:
                size = _size(row)
                count, total = count + 1, total + size
                if row[7]:
                    newest.pop(row[1], None)
                else:
                    newest[row[1]] = size
            revision = revision_of(rows[-1][0])
            await asyncio.sleep(0)
    live = sum(newest.values())
    return StoreStats(
        revision=_newest_revision(revision, found),
        compacted=found.meta.get("compacted", 0),
        keys=len(newest),
        live_bytes=live,
        rows=count,
        superseded_rows=count - len(newest),
        superseded_bytes=total - live,
        size_bytes=found.size_bytes,
        leases=len(found.leases),
    )


async def top(endpoint: str, *, limit: int = 20) -> TopReport:
    """Who fills the log: the keys and folders with the most bytes in it, and the clients with the most churn."""
    keys: dict[str, list[int]] = {}
    folders: dict[str, list[int]] = {}
    async with inspecting(endpoint) as found:
        async for rows in found.rows:
            for row in rows:
                for table, name in ((keys, row[1]), (folders, row[1].rpartition("/")[0] + "/")):
                    entry = table.setdefault(name, [0, 0])
                    entry[0] += 1
                    entry[1] += _size(row)
            await asyncio.sleep(0)
    churn = sorted(found.churn, key=lambda row: -row.bytes)[:limit]
    return TopReport(_largest(keys, limit), _largest(folders, limit), churn)


async def compact(endpoint: str, *, clock: Clock, revision: int = 0) -> CompactReport:
    """Forget what is superseded below ``revision`` (0: all that is), and give the space back.

    Raises Compacted, FutureRevision, and StoreUnavailable when it does not exist.
    """
    path = sqlite_path(endpoint)
    if path is not None:
        await check_there(path)
    store = await open_endpoint(endpoint, clock=clock)
    try:
        before = await store.size_bytes()
        target = revision or store.current_revision
        if revision or target > store.compacted_revision:
            await store.compact(target)
        await store.give_back_space()
        return CompactReport(target, before, await store.size_bytes())
    finally:
        await store.close()


async def migrate(source: str, target: str, *, clock: Clock) -> MigrateReport:
    """Copy a whole datastore, history, revisions and leases, into a new one, in either direction.

    Nobody may write to ``source`` meanwhile. Raises StoreUnavailable when ``target`` is not new or
    empty; it is left as it was then.
    """
    target_path, source_path = sqlite_path(target), sqlite_path(source)
    if source_path is not None:
        await check_there(source_path)
    store = await open_endpoint(source, clock=clock)
    try:
        contents = await store.contents()
        if target_path is not None:
            from minikube_py.datastore.sqlite.importing import write_store as write_sqlite

            rows = await write_sqlite(target_path, contents)
        else:
            from minikube_py.datastore.postgres.importing import write_store as write_postgres

            rows = await write_postgres(target, contents)
        return MigrateReport(rows, contents.revision)
    finally:
        await store.close()


@dataclass(slots=True)
class _LogCheck:
    """Follows the log and notes what cannot be. ``_heads`` is each key's newest row so far."""

    findings: list[str]
    rows: int = 0
    revision: int = 0
    _last: int = 0
    _heads: dict[str, Row] = field(default_factory=dict)

    def look(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows += 1
            identity, key = row[0], row[1]
            if identity <= self._last:
                self._note(row, "is not above the row before it")
            head = self._heads.get(key)
            if head is not None and revision_of(head[0]) == revision_of(identity):
                self._note(row, "changes its key a second time in one revision")
            self._look_at_lineage(row, head)
            if row[7] and row[2]:
                self._note(row, "is a deletion with a value")
            self._heads[key] = row
            self._last = identity
        self.revision = revision_of(self._last)

    def finish(self, found: Inspection) -> None:
        """Compare with the notes beside the log."""
        leases = {lease for lease, _ in found.leases}
        for row in self._heads.values():
            if not row[7] and row[6] and row[6] not in leases:
                self._note(row, f"hangs on lease {row[6]:x}, which does not exist")
        self.revision = _newest_revision(self.revision, found)
        if found.meta.get("compacted", 0) > self.revision:
            self.findings.append(f"compacted to {found.meta['compacted']}, which is above revision {self.revision}")

    def _look_at_lineage(self, row: Row, head: Row | None) -> None:
        revision, (_, _, _, create, version, previous, _, deleted) = revision_of(row[0]), row
        before = 0 if head is None or head[7] else head[0]  # after a deletion a key begins anew
        if head is not None and previous != before:
            self._note(row, f"follows row {previous}, but the key's row before it is {before}")
        if deleted:
            return
        if version < 1 or create > revision or (version == 1) != (create == revision):
            self._note(row, f"has version {version} and create revision {create}")
        elif head is not None and not head[7] and (head[3], head[4] + 1) != (create, version):
            lost = head[3] == create and head[4] < version  # volatile values are replaced without a row
            if not lost:
                self._note(row, f"has version {version} of {create} after version {head[4]} of {head[3]}")

    def _note(self, row: Row, text: str) -> None:
        self.findings.append(f"row {row[0]} (revision {revision_of(row[0])}, key {row[1]!r}) {text}")


def _newest_revision(of_rows: int, found: Inspection) -> int:
    return max(1, of_rows, found.meta.get("compacted", 0), found.meta.get("floor", 0))


def _size(row: Row) -> int:
    return len(row[1]) + len(row[2])


def _largest(table: dict[str, list[int]], limit: int) -> list[Usage]:
    rows = sorted(table.items(), key=lambda item: (-item[1][1], item[0]))[:limit]
    return [Usage(name, revisions, size) for name, (revisions, size) in rows]
