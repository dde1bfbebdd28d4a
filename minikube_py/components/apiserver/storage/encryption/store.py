"""The datastore as the API server sees it when objects are encrypted: plain values in, plain values out.

Implements ``TappedStore`` around another one. Values under prefixes that the configuration names are encrypted on the
way in; what comes back (reads, watches, published changes) is decrypted. What was written with anything but the
first key is ``stale``: the registry writes such an object anew even when a request changes nothing.

Errors: a value that no key opens makes ``open`` and ``replace`` fail with ConfigurationError (they look at everything
that is stored, so a missing key is found before it is missed), and a later read of old history with ApiError 500. A
KMS plugin that is away makes writes fail with ApiError 500; reads go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.storage.caches import TappedStore
from minikube_py.components.apiserver.storage.encryption import MARK
from minikube_py.components.apiserver.storage.encryption.ciphers import CannotDecrypt
from minikube_py.components.apiserver.storage.encryption.configuration import EncryptionConfiguration, Provider
from minikube_py.components.apiserver.storage.encryption.kms import KmsError, KmsProvider
from minikube_py.components.apiserver.storage.encryption.transformer import Transformer, make_transformer
from minikube_py.components.apiserver.storage.keys import ROOT, prefix_of
from minikube_py.datastore.types import Change, KeyExists, RangeResult, Record, RevisionMismatch, Watch
from minikube_py.machinery.errors import internal

log = logging.getLogger(__name__)


class Transformers:
    """Which transformer belongs to a key; made anew for each configuration."""

    def __init__(self, configuration: EncryptionConfiguration) -> None:
        self._configuration = configuration
        self._by_prefix: dict[str, Transformer | None] = {}
        self._plugins: dict[Provider, KmsProvider] = {}

    @property
    def plugins(self) -> Mapping[Provider, KmsProvider]:
        return self._plugins

    def of(self, key: str) -> Transformer | None:
        """The transformer of a key or a resource prefix; None: stored as it is."""
        prefix = prefix_of(key)
        if prefix not in self._by_prefix:
            parts = prefix.removeprefix(ROOT).rstrip("/").split("/")
            group, plural = (parts[0], parts[1]) if len(parts) == 2 else ("", "")
            providers = self._configuration.providers("" if group == "core" else group, plural) if plural else ()
            self._by_prefix[prefix] = make_transformer(providers, self._plugins) if providers else None
        return self._by_prefix[prefix]

    def load(self) -> None:
        """Connect to the KMS plugins that any entry names. Blocks. Raises KmsError."""
        for entry in self._configuration.entries:
            make_transformer(entry.providers, self._plugins)
        for plugin in self._plugins.values():
            plugin.refresh()

    def close(self) -> None:
        for plugin in self._plugins.values():
            plugin.plugin.close()


class EncryptedStore:
    """See the module. ``open`` must be called before anything else."""

    def __init__(self, store: TappedStore, configuration: EncryptionConfiguration) -> None:
        self._store = store
        self._transformers = Transformers(configuration)
        self._stale: set[str] = set()
        self._touched: set[str] | None = None
        """Keys that were changed while a new configuration is being checked."""
        self._writes = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._open_for_writes = asyncio.Event()
        self._open_for_writes.set()
        self._end = store.tap(self._note)

    @property
    def plugins(self) -> Sequence[KmsProvider]:
        return list(self._transformers.plugins.values())

    async def open(self) -> None:
        """Get ready to read all that is stored. Raises ConfigurationError."""
        self._stale = await self._readable(self._transformers)

    async def replace(self, configuration: EncryptionConfiguration) -> None:
        """Use another configuration from now on. Raises ConfigurationError and keeps the former one."""
        fresh = Transformers(configuration)
        self._touched = set()
        try:
            stale = await self._readable(fresh)
            # What was written meanwhile, with the former keys, is looked at while nothing can be written.
            self._open_for_writes.clear()
            await self._idle.wait()
            records = [record for key in self._touched for record in self._store.current(key) if record.key == key]
            stale = (stale - self._touched) | _checked(fresh, records)
            former, self._transformers, self._stale = self._transformers, fresh, stale
        except ConfigurationError:
            fresh.close()
            raise
        finally:
            self._touched = None
            self._open_for_writes.set()
        former.close()

    async def _readable(self, transformers: Transformers) -> set[str]:
        """Check that everything stored can be read; returns the keys that should be written anew."""
        records = self._store.current(ROOT)
        try:
            await asyncio.to_thread(transformers.load)
        except KmsError as error:
            raise ConfigurationError(f"encryption: {error}") from error
        return await asyncio.to_thread(_checked, transformers, records)

    def _note(self, changes: Sequence[Change]) -> None:
        """Keep ``stale`` true, and remember what changes while a configuration is checked."""
        for change in changes:
            key = change.record.key
            transformer = self._transformers.of(key)
            if self._touched is not None:
                self._touched.add(key)
            self._stale.discard(key)
            if transformer is not None and not change.deleted and not transformer.is_current(change.record.value):
                self._stale.add(key)

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """A write from its encryption to its end; no change of keys comes in between."""
        await self._open_for_writes.wait()
        self._writes += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._writes -= 1
            if not self._writes:
                self._idle.set()

    def stale(self, key: str) -> bool:
        """Whether the stored value was written with anything but the first key."""
        return key in self._stale

    @property
    def stale_count(self) -> int:
        return len(self._stale)

    def _sealed(self, key: str, value: bytes) -> bytes:
        transformer = self._transformers.of(key)
        if transformer is None:
            return value
        try:
            return transformer.to_store(key, value)
        except KmsError as error:
            raise internal(f"unable to transform key {key!r}: {error}") from error

    def _opened(self, record: Record) -> Record:
        transformer = self._transformers.of(record.key)
        if not record.value or (transformer is None and not record.value.startswith(MARK)):
            return record
        try:
            return replace(record, value=_value(transformer, record.key, record.value)[0])
        except CannotDecrypt as error:
            raise internal(f"unable to transform key {record.key!r}: {error}") from error

    async def create(
        self, key: str, value: bytes, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> Record:
        try:
            async with self._writing():
                sealed = self._sealed(key, value)
                record = await self._store.create(key, sealed, lease=lease, volatile=volatile, client=client)
        except KeyExists as error:
            raise KeyExists(key, self._opened(error.current)) from error
        return replace(record, value=value)

    async def update(
        self,
        key: str,
        value: bytes,
        *,
        expected_revision: int,
        lease: int = 0,
        volatile: bool = False,
        client: str = "",
    ) -> Record:
        try:
            async with self._writing():
                record = await self._store.update(
                    key,
                    self._sealed(key, value),
                    expected_revision=expected_revision,
                    lease=lease,
                    volatile=volatile,
                    client=client,
                )
        except RevisionMismatch as error:
            current = self._opened(error.current) if error.current is not None else None
            raise RevisionMismatch(key, expected_revision, current) from error
        return replace(record, value=value)

    async def delete(self, key: str, *, expected_revision: int = 0, client: str = "") -> Record | None:
        try:
            record = await self._store.delete(key, expected_revision=expected_revision, client=client)
        except RevisionMismatch as error:
            current = self._opened(error.current) if error.current is not None else None
            raise RevisionMismatch(key, expected_revision, current) from error
        return self._opened(record) if record is not None else None

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        record = await self._store.get(key, revision=revision)
        return self._opened(record) if record is not None else None

    async def range(
        self, prefix: str, *, start: str = "", revision: int = 0, limit: int = 0, keys_only: bool = False
    ) -> RangeResult:
        found = await self._store.range(prefix, start=start, revision=revision, limit=limit, keys_only=keys_only)
        return found if keys_only else replace(found, records=[self._opened(record) for record in found.records])

    def current(self, prefix: str) -> Sequence[Record]:
        return [self._opened(record) for record in self._store.current(prefix)]

    def tap(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        def take(changes: Sequence[Change]) -> None:
            callback([found for change in changes if (found := self._published(change)) is not None])

        return self._store.tap(take)

    def _published(self, change: Change) -> Change | None:
        """A change in plain; None, with a line in the log, for one that another server wrote with an unknown key."""
        record = change.record
        transformer = self._transformers.of(record.key)
        if transformer is None:
            return change
        previous = change.previous
        try:
            if previous is not None and previous.value:
                previous = replace(previous, value=transformer.from_store(previous.key, previous.value)[0])
            if not change.deleted:
                record = replace(record, value=transformer.from_store(record.key, record.value)[0])
        except CannotDecrypt as error:
            log.error("a published change cannot be decrypted", extra={"key": record.key, "error": str(error)})
            return None
        return Change(record, previous, change.deleted)

    def watch(self, prefix: str, *, start_revision: int, buffer: int = 10_000) -> Watch:
        return _OpenedWatch(self._store.watch(prefix, start_revision=start_revision, buffer=buffer), self._published)

    @property
    def current_revision(self) -> int:
        return self._store.current_revision

    @property
    def compacted_revision(self) -> int:
        return self._store.compacted_revision

    @property
    def stall(self) -> str:
        return self._store.stall

    def on_stall(self, callback: Callable[[str], None]) -> Callable[[], None]:
        return self._store.on_stall(callback)

    async def count(self, prefix: str, *, revision: int = 0) -> int:
        return await self._store.count(prefix, revision=revision)

    async def grant_lease(self, ttl_seconds: int, *, lease: int = 0) -> int:
        return await self._store.grant_lease(ttl_seconds, lease=lease)

    async def keep_alive(self, lease: int) -> int:
        return await self._store.keep_alive(lease)

    async def revoke_lease(self, lease: int) -> None:
        await self._store.revoke_lease(lease)

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def size_bytes(self) -> int:
        return await self._store.size_bytes()

    async def run(self) -> None:
        await self._store.run()

    async def close(self) -> None:
        self._end()
        self._transformers.close()
        await self._store.close()


def _value(transformer: Transformer | None, key: str, data: bytes) -> tuple[bytes, bool]:
    if transformer is None:
        raise CannotDecrypt("the value is encrypted, but no entry of the encryption configuration names its resource")
    return transformer.from_store(key, data)


def _checked(transformers: Transformers, records: Sequence[Record]) -> set[str]:
    """The stale keys among the records. Blocks. Raises ConfigurationError that names a key which cannot be read."""
    try:
        return _check(transformers, records)
    except (KmsError, CannotDecrypt) as error:
        raise ConfigurationError(
            f"encryption: {error}; add the key or provider that wrote it to the encryption configuration"
        ) from error


def _check(transformers: Transformers, records: Sequence[Record]) -> set[str]:
    stale: set[str] = set()
    by_transformer: dict[int, tuple[Transformer, list[Record]]] = {}
    for record in records:
        transformer = transformers.of(record.key)
        if transformer is not None:
            by_transformer.setdefault(id(transformer), (transformer, []))[1].append(record)
        elif record.value.startswith(MARK):
            _named(None, record)
    for transformer, found in by_transformer.values():
        transformer.prepare(record.value for record in found)
        stale |= {record.key for record in found if _named(transformer, record)}
    return stale


def _named(transformer: Transformer | None, record: Record) -> bool:
    try:
        return _value(transformer, record.key, record.value)[1]
    except CannotDecrypt as error:
        raise CannotDecrypt(f"cannot read {record.key}: {error}") from error


class _OpenedWatch:
    """A watch whose changes are decrypted as they are handed out."""

    def __init__(self, watch: Watch, opened: Callable[[Change], Change | None]) -> None:
        self._watch = watch
        self._opened = opened

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        while True:
            batch = self._batch(await self._watch.__anext__())
            if batch:
                return batch

    def ready(self) -> Sequence[Sequence[Change]]:
        return [batch for found in self._watch.ready() if (batch := self._batch(found))]

    def _batch(self, changes: Sequence[Change]) -> Sequence[Change]:
        return [found for change in changes if (found := self._opened(change)) is not None]

    @property
    def progress_revision(self) -> int:
        return self._watch.progress_revision

    def close(self) -> None:
        self._watch.close()
