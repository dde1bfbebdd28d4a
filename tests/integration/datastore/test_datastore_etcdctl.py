"""Debian's etcdctl at work on the etcd face."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from datastore_etcd_client import EtcdStore, served_by_etcd

from minikube_py.client.clock import SystemClock
from minikube_py.datastore.etcd import EtcdTls, etcd_context
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.host.file_changes import signature_of
from minikube_py.host.tls import ServerTls, follow_files

pytestmark = pytest.mark.skipif(shutil.which("etcdctl") is None, reason="needs Debian's etcd-client")

_ENVIRONMENT = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}


class EtcdctlFailed(Exception):
    pass


@dataclass(frozen=True)
class Etcdctl:
    """Runs etcdctl; the call returns what it prints, or raises what it complains of."""

    options: tuple[str, ...]

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        process = await self.start(*arguments)
        try:
            async with asyncio.timeout(20):
                output, errors = await process.communicate(stdin.encode())
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise EtcdctlFailed(errors.decode())
        return output.decode()

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "etcdctl", *self.options, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=_ENVIRONMENT
        )


@pytest.fixture
async def etcdctl(sqlite_store: Any) -> AsyncIterator[Etcdctl]:
    async with served_by_etcd(sqlite_store) as address:
        yield Etcdctl(("--endpoints", address))


async def test_put_get_and_delete(etcdctl: Etcdctl) -> None:
    for key in ("/a", "/b", "/c"):
        assert await etcdctl("put", key, f"value of {key}") == "OK\n"
    assert await etcdctl("get", "/a", "--print-value-only") == "value of /a\n"
    assert await etcdctl("get", "/", "--prefix", "--keys-only") == "/a\n\n/b\n\n/c\n\n"
    assert await etcdctl("get", "/", "--prefix", "--limit=1", "--order=DESCEND", "--keys-only") == "/c\n\n"
    assert await etcdctl("get", "/b", "--from-key", "--print-value-only") == "value of /b\nvalue of /c\n"
    assert await etcdctl("put", "/a", "new", "--prev-kv") == "OK\n/a\nvalue of /a\n"
    assert await etcdctl("get", "/a", "--rev=2", "--print-value-only") == "value of /a\n"
    assert await etcdctl("del", "/b", "/d", "--prev-kv") == "2\n/b\nvalue of /b\n/c\nvalue of /c\n"
    assert await etcdctl("del", "/none") == "0\n"
    answer = json.loads(await etcdctl("get", "/a", "-w", "json"))
    assert (answer["header"]["revision"], answer["count"], answer["kvs"][0]["version"]) == (6, 1, 2)


async def test_keys_that_are_not_text(etcdctl: Etcdctl, sqlite_store: Any) -> None:
    await sqlite_store.create("/é\U0010ffff", b"1")
    found = json.loads(await etcdctl("get", "", "--prefix", "-w", "json"))
    assert found["kvs"][0]["key"] == "L8Op/w=="  # "/é" and one byte 0xff
    assert (await etcdctl("get", "/é", "--prefix", "--print-value-only")) == "1\n"


_TRANSACTION = """\
mod("/a") = "2"
value("/a") = "1"

put /a 2
put /b 3
get /a

get /a

"""


async def test_a_transaction_has_one_revision(etcdctl: Etcdctl) -> None:
    await etcdctl("put", "/a", "1")
    assert await etcdctl("txn", stdin=_TRANSACTION) == "SUCCESS\n\nOK\n\nOK\n\n/a\n2\n"
    assert await etcdctl("txn", stdin=_TRANSACTION) == "FAILURE\n\n/a\n2\n"
    found = json.loads(await etcdctl("get", "/", "--prefix", "-w", "json"))
    assert [kv["mod_revision"] for kv in found["kvs"]] == [3, 3]
    with pytest.raises(EtcdctlFailed, match="duplicate key given in txn request"):
        await etcdctl("txn", stdin="\nput /x 1\nput /x 2\n\n\n")


async def test_a_watch_from_the_past_and_into_the_future(etcdctl: Etcdctl) -> None:
    await etcdctl("put", "/p/a", "1")
    await etcdctl("del", "/p/a")

    watch = await etcdctl.start("watch", "/p/", "--prefix", "--rev=2", "--prev-kv")
    assert watch.stdout is not None
    try:
        await etcdctl("put", "/q", "not this")
        await etcdctl("put", "/p/b", "2")
        expected = b"PUT\n/p/a\n1\nDELETE\n/p/a\n1\n/p/a\n\nPUT\n/p/b\n2\n"
        async with asyncio.timeout(30):
            assert await watch.stdout.readexactly(len(expected)) == expected
    finally:
        watch.terminate()
        await watch.wait()


async def test_leases(etcdctl: Etcdctl) -> None:
    granted = await etcdctl("lease", "grant", "60")
    lease = granted.split()[1]
    await etcdctl("put", "/leased", "1", f"--lease={lease}")
    assert f"lease {lease} granted with TTL(60s)" in granted
    assert "attached keys([/leased])" in await etcdctl("lease", "timetolive", lease, "--keys")
    assert lease in await etcdctl("lease", "list")
    assert "keepalived with TTL(60)" in await etcdctl("lease", "keep-alive", "--once", lease)
    assert "revoked" in await etcdctl("lease", "revoke", lease)
    assert await etcdctl("get", "/leased") == ""
    assert "already expired" in await etcdctl("lease", "timetolive", lease)
    with pytest.raises(EtcdctlFailed, match="requested lease not found"):
        await etcdctl("put", "/leased", "1", f"--lease={lease}")


async def test_compaction(etcdctl: Etcdctl) -> None:
    for value in "123":
        await etcdctl("put", "/a", value)
    assert "compacted revision 4" in await etcdctl("compaction", "4")
    with pytest.raises(EtcdctlFailed, match="required revision has been compacted"):
        await etcdctl("get", "/a", "--rev=2")
    with pytest.raises(EtcdctlFailed, match="required revision is a future revision"):
        await etcdctl("get", "/a", "--rev=99")
    assert await etcdctl("defrag") != ""


async def test_a_saved_snapshot_opens_as_a_datastore(etcdctl: Etcdctl, tmp_path: Path, clock: Any) -> None:
    await etcdctl("put", "/a", "1")
    await etcdctl("put", "/a", "2")
    saved = tmp_path / "saved.db"
    assert "Snapshot saved" in await etcdctl("snapshot", "save", str(saved))
    saved.write_bytes(saved.read_bytes()[:-32])  # etcd's checksum
    store = await open_sqlite(saved, clock=clock)
    assert [(r.key, r.value, r.mod_revision) for r in store.current("")] == [("/a", b"2", 3)]
    await store.close()


async def test_status_health_members_hashes_and_alarms(etcdctl: Etcdctl) -> None:
    await etcdctl("put", "/a", "1")
    (status,) = json.loads(await etcdctl("endpoint", "status", "-w", "json"))
    assert status["Status"]["header"]["revision"] == 2 and status["Status"]["dbSize"] > 0
    await etcdctl("endpoint", "health")
    (hashed,) = json.loads(await etcdctl("endpoint", "hashkv", "-w", "json"))
    assert hashed["HashKV"]["hash"]
    assert "pyk3s" in await etcdctl("member", "list")
    assert await etcdctl("alarm", "list") == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("user", "add", "me:secret"), "authentication is not enabled"),
        (("auth", "enable"), "authentication is not enabled"),
        (("member", "add", "other", "--peer-urls=http://127.0.0.1:1"), "not enough started members"),
        (("member", "remove", "1"), "member not found"),
        (("move-leader", "1"), "leader"),
        (("put", "", "1"), "key is not provided"),
        (("put", "/none", "--ignore-value"), "key not found"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
async def test_what_is_refused_is_refused_in_etcds_words(
    etcdctl: Etcdctl, arguments: tuple[str, ...], text: str
) -> None:
    with pytest.raises(EtcdctlFailed, match=text):
        await etcdctl(*arguments)


async def test_tls_with_client_certificates(sqlite_store: Any, tmp_path: Path) -> None:
    await make_certificates(tmp_path)
    options = (f"--cacert={tmp_path}/ca.crt",)
    async with served_by_etcd(sqlite_store, tls=context_of(tmp_path)) as address:
        endpoint = ("--endpoints", f"https://{address}")
        run = Etcdctl((*endpoint, *options, f"--cert={tmp_path}/server.crt", f"--key={tmp_path}/server.key"))
        assert await run("put", "/a", "1") == "OK\n"
        with pytest.raises(EtcdctlFailed):
            await Etcdctl((*endpoint, *options, "--command-timeout=3s"))("get", "/a")
    assert [row.client for row in sqlite_store.churn()] == ["127.0.0.1"]


async def test_renewed_certificates_and_another_ca_without_a_restart(sqlite_store: Any, tmp_path: Path) -> None:
    """New handshakes take them; who is connected stays connected; what cannot be used changes nothing."""
    old, new, used = (tmp_path / name for name in ("old", "new", "used"))
    for folder in (old, new):
        folder.mkdir()
        await make_certificates(folder)
    shutil.copytree(old, used)
    files = [used / name for _, name in _CLIENT_FILES]
    since, tls = signature_of(files), ServerTls(lambda: context_of(used))
    async with served_by_etcd(sqlite_store, tls=tls.context) as address:

        def etcdctl_of(folder: Path) -> Etcdctl:
            options = (f"--{option}={folder}/{name}" for option, name in _CLIENT_FILES)
            return Etcdctl(("--endpoints", f"https://{address}", "--command-timeout=3s", *options))

        parts = [(old / name).read_bytes() for name in ("ca.crt", "server.key", "server.crt")]
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*parts)) as channel:
            connected = EtcdStore(channel, sqlite_store)
            await connected.create("/a", b"1")
            with pytest.raises(EtcdctlFailed):
                await etcdctl_of(new)("get", "/a")
            shutil.copytree(new, used, dirs_exist_ok=True)
            following = asyncio.create_task(follow_files(tls, files, SystemClock(), since=since))
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(trusted_by, address, new / "ca.crt"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            following.cancel()
            await asyncio.wait({following})
            assert await etcdctl_of(new)("get", "/a") == "/a\n1\n"
            with pytest.raises(EtcdctlFailed):
                await etcdctl_of(old)("get", "/a")
            assert (await connected.create("/b", b"2")).value == b"2"  # a new connection would be refused by now
            (used / "server.key").write_text("no key")
            with pytest.raises(OSError, match="must be PEM and belong together"):
                await tls.exchange()
            assert await etcdctl_of(new)("get", "/b") == "/b\n2\n"


def trusted_by(address: str, authority: Path) -> bool:
    """Whether the server shows a certificate of ``authority``."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=authority)
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        try:
            context.wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


_CLIENT_FILES = (("cacert", "ca.crt"), ("cert", "server.crt"), ("key", "server.key"))


def context_of(folder: Path) -> ssl.SSLContext:
    return etcd_context(EtcdTls(*((folder / name).read_bytes() for name in ("server.crt", "server.key", "ca.crt"))))


async def make_certificates(folder: Path) -> None:
    script = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt "
        "-subj /CN=ca -days 2 && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr "
        "-subj /CN=127.0.0.1 && printf 'subjectAltName=IP:127.0.0.1' > ext && "
        "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.crt"
    )
    process = await asyncio.create_subprocess_shell(script, cwd=folder, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
