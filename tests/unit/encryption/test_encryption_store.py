"""Values are cipher text in the datastore and plain everywhere else; keys come and go without losing any."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from minikube_py.client.clock import SystemClock
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.storage.encryption import transformer as transformers
from minikube_py.components.apiserver.storage.encryption.ciphers import CannotDecrypt, sealer
from minikube_py.components.apiserver.storage.encryption.configuration import (
    EncryptionConfiguration,
    Entry,
    Key,
    Provider,
)
from minikube_py.components.apiserver.storage.encryption.kms import KmsError, KmsProvider, Wrapped
from minikube_py.components.apiserver.storage.encryption.store import EncryptedStore
from minikube_py.datastore.sqlite import SqliteDatastore, open_sqlite
from minikube_py.datastore.types import Change, KeyExists, RevisionMismatch
from minikube_py.machinery.errors import ApiError

SECRET = "/registry/core/secrets/default/one"
PLAIN = b'{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}'
KINDS = ("aescbc", "aesgcm", "secretbox")
IDENTITY = Provider("identity")


def keyed(kind: str, *names: str) -> Provider:
    return Provider(kind, tuple(Key(name, name.encode().ljust(32, b"-")) for name in names))


def configured(*providers: Provider, resources: tuple[str, ...] = ("secrets",)) -> EncryptionConfiguration:
    return EncryptionConfiguration((Entry(resources, providers),))


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[SqliteDatastore]:
    store = await open_sqlite(tmp_path / "state.db", clock=SystemClock())
    yield store
    await store.close()


async def opened(raw: SqliteDatastore, *providers: Provider) -> EncryptedStore:
    store = EncryptedStore(raw, configured(*providers))
    await store.open()
    return store


def stored(raw: SqliteDatastore) -> bytes:
    return raw.current(SECRET)[0].value


@pytest.mark.parametrize("kind", KINDS)
async def test_values_come_back_plain_and_lie_encrypted(raw: SqliteDatastore, kind: str) -> None:
    store = await opened(raw, keyed(kind, "key1"), IDENTITY)
    created = await store.create(SECRET, PLAIN)
    assert created.value == PLAIN
    assert stored(raw).startswith(f"k8s:enc:{kind}:v1:key1:".encode())
    assert b"password" not in stored(raw)
    found = await store.get(SECRET)
    assert found is not None
    assert found.value == PLAIN
    assert [record.value for record in store.current("/registry/core/secrets/")] == [PLAIN]
    assert [record.value for record in (await store.range("/registry/core/secrets/")).records] == [PLAIN]
    with pytest.raises(KeyExists) as caught:
        await store.create(SECRET, PLAIN)
    assert caught.value.current.value == PLAIN
    with pytest.raises(RevisionMismatch) as stale:
        await store.update(SECRET, b"x", expected_revision=99)
    assert stale.value.current is not None
    assert stale.value.current.value == PLAIN
    deleted = await store.delete(SECRET)
    assert deleted is not None
    assert deleted.value == PLAIN


async def test_other_resources_are_left_alone(raw: SqliteDatastore) -> None:
    store = await opened(raw, keyed("aesgcm", "key1"))
    await store.create("/registry/core/configmaps/default/one", PLAIN)
    assert raw.current("/registry/core/configmaps/")[0].value == PLAIN


async def test_taps_and_watches_show_plain_values(raw: SqliteDatastore) -> None:
    store = await opened(raw, keyed("aesgcm", "key1"))
    seen: list[Sequence[Change]] = []
    store.tap(seen.append)
    watch = store.watch("/registry/core/secrets/", start_revision=1)
    created = await store.create(SECRET, PLAIN)
    await store.update(SECRET, b"second", expected_revision=created.mod_revision)
    await store.delete(SECRET)
    watched: list[Change] = []
    while len(watched) < 3:
        watched += await anext(watch)
    for changes in ([change for batch in seen for change in batch], watched):
        assert [change.record.value for change in changes] == [PLAIN, b"second", b""]
        assert [change.previous.value if change.previous else None for change in changes] == [None, PLAIN, b"second"]
    watch.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_changed_or_moved_does_not_open(kind: str) -> None:
    found = sealer(kind, Key("a", b"a" * 32))
    data = found.seal(PLAIN, b"here")
    assert found.open(data, b"here") == PLAIN
    assert found.seal(PLAIN, b"here") != data
    for damaged in (data[:-1], b"", data[:20]):
        with pytest.raises(CannotDecrypt):
            found.open(damaged, b"here")
    with pytest.raises(CannotDecrypt):
        sealer(kind, Key("a", b"b" * 32)).open(data, b"here")
    if kind == "aesgcm":
        with pytest.raises(CannotDecrypt):
            found.open(data, b"elsewhere")


async def test_rotation_while_writers_run(raw: SqliteDatastore) -> None:
    store = await opened(raw, IDENTITY, keyed("aescbc", "old"))
    await store.create(SECRET, PLAIN)
    assert not store.stale(SECRET)
    await store.replace(configured(keyed("aescbc", "old"), IDENTITY))
    assert store.stale(SECRET)
    written = 0

    async def write() -> None:
        nonlocal written
        while not (rotated and written > rotated + 3):
            record = await store.get(SECRET)
            assert record is not None
            written += 1
            await store.update(SECRET, b"value %d" % written, expected_revision=record.mod_revision)

    rotated = 0
    writer = asyncio.create_task(write())
    for providers in (
        (keyed("aescbc", "old", "new"), IDENTITY),
        (keyed("aescbc", "new", "old"), IDENTITY),
    ):
        await store.replace(configured(*providers))
    rotated = written
    await writer
    assert not store.stale(SECRET)
    await store.replace(configured(keyed("aescbc", "new")))
    assert store.current(SECRET)[0].value == b"value %d" % written
    assert stored(raw).startswith(b"k8s:enc:aescbc:v1:new:")


async def test_a_key_that_is_still_needed_cannot_be_taken_away(raw: SqliteDatastore) -> None:
    store = await opened(raw, keyed("aesgcm", "old"))
    await store.create(SECRET, PLAIN)
    with pytest.raises(ConfigurationError, match=f"cannot read {SECRET}: no provider or key matches 'aesgcm:v1:old'"):
        await store.replace(configured(keyed("aesgcm", "new")))
    assert store.current(SECRET)[0].value == PLAIN
    for providers in ((keyed("aesgcm", "new"),), ()):
        with pytest.raises(ConfigurationError, match="add the key or provider"):
            await opened(raw, *providers)


async def test_plain_values_need_the_identity_provider(raw: SqliteDatastore) -> None:
    await raw.create(SECRET, PLAIN)
    with pytest.raises(ConfigurationError, match="not encrypted"):
        await opened(raw, keyed("aesgcm", "a"))
    store = await opened(raw, keyed("aesgcm", "a"), IDENTITY)
    assert store.stale(SECRET)


async def test_old_history_with_a_lost_key_is_an_error_of_that_read(raw: SqliteDatastore) -> None:
    store = await opened(raw, keyed("aesgcm", "old"))
    first = await store.create(SECRET, PLAIN)
    await store.replace(configured(keyed("aesgcm", "new", "old")))
    await store.update(SECRET, b"second", expected_revision=first.mod_revision)
    await store.replace(configured(keyed("aesgcm", "new")))
    with pytest.raises(ApiError, match="unable to transform key") as caught:
        await store.range("/registry/core/secrets/", revision=first.mod_revision)
    assert caught.value.code == 500
    found = await store.get(SECRET)
    assert found is not None
    assert found.value == b"second"


class FakePlugin:
    """Wraps with base64; counts its calls; can change its key and fall ill."""

    def __init__(self) -> None:
        self.key_id = "k1"
        self.health = "ok"
        self.calls: list[str] = []

    def status(self) -> tuple[str, str, str]:
        self.calls.append("status")
        return "v2", self.health, self.key_id

    def encrypt(self, plain: bytes) -> Wrapped:
        self.calls.append("encrypt")
        return Wrapped(self.key_id, base64.b64encode(plain), {"kms.example.com/a": b"b"})

    def decrypt(self, wrapped: Wrapped) -> bytes:
        self.calls.append("decrypt")
        if self.health != "ok":
            raise KmsError("plugin is away")
        assert wrapped.annotations == {"kms.example.com/a": b"b"}
        return base64.b64decode(wrapped.ciphertext)

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> FakePlugin:
    found = FakePlugin()
    monkeypatch.setattr(transformers, "GrpcPlugin", lambda provider: found)
    return found


KMS = Provider("kms", name="vault", endpoint="unix:///run/x")


async def test_kms_wraps_one_seed_for_many_values(raw: SqliteDatastore, plugin: FakePlugin) -> None:
    store = await opened(raw, KMS)
    for number in range(5):
        await store.create(f"{SECRET}{number}", PLAIN)
    assert plugin.calls == ["status", "encrypt"]
    assert raw.current(SECRET)[0].value.startswith(b"k8s:enc:kms:v2:vault:")
    again = await opened(raw, KMS)
    assert [record.value for record in again.current(SECRET)] == [PLAIN] * 5
    assert plugin.calls == ["status", "encrypt", "status", "encrypt", "decrypt"]


async def test_kms_values_are_stale_when_the_plugin_has_another_key(raw: SqliteDatastore, plugin: FakePlugin) -> None:
    store = await opened(raw, KMS)
    await store.create(SECRET, PLAIN)
    plugin.key_id = "k2"
    await store.replace(configured(KMS))
    assert store.stale(SECRET)
    record = await store.get(SECRET)
    assert record is not None
    await store.update(SECRET, PLAIN, expected_revision=record.mod_revision)
    assert not store.stale(SECRET)


async def test_an_ill_plugin_stops_writes_of_a_new_server_only(raw: SqliteDatastore, plugin: FakePlugin) -> None:
    store = await opened(raw, KMS)
    await store.create(SECRET, PLAIN)
    plugin.health = "sealed"
    with pytest.raises(ConfigurationError, match="KMS plugin vault is not healthy: sealed"):
        await opened(raw, KMS)
    await store.create(f"{SECRET}2", PLAIN)
    provider = KmsProvider("vault", plugin)
    with pytest.raises(KmsError, match="sealed"):
        provider.refresh()
    with pytest.raises(KmsError, match="sealed"):
        provider.seal(PLAIN, b"x")
