"""``--datastore-endpoint`` to a PostgreSQL with TLS: libpq's ``sslmode``, ``sslrootcert``, ``sslcert``, ``sslkey``."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from conftest import Postgres
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from minikube_py.datastore import tools
from minikube_py.datastore.endpoints import open_endpoint
from minikube_py.datastore.types import StoreUnavailable

_PORT = 22102
_ACCESS = """
local     all  all                   trust
hostssl   all  postgres 127.0.0.1/32 trust
hostssl   all  holder   127.0.0.1/32 cert
hostnossl all  all      127.0.0.1/32 reject
"""


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_certificate(name, key, name, key, authority=True), key)

    def issue(self, name: str, certificate: Path, key: Path) -> None:
        """A certificate for ``name`` at 127.0.0.1, as two files."""
        own = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        issued = _certificate(name, own, str(issuer), self.key, authority=False)
        certificate.write_bytes(issued.public_bytes(Encoding.PEM))
        key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key.chmod(0o600)

    def write(self, path: Path) -> None:
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A PostgreSQL that takes TLS connections only, and the files of its clients."""
    if not Path("/usr/lib/postgresql/15/bin/initdb").exists() or os.geteuid() != 0:
        pytest.skip("needs Debian's PostgreSQL 15 and root")
    path = Path(tempfile.mkdtemp(prefix="pyk3s-pg-"))
    server = Postgres(path)
    try:
        server.initialise()
        authority = Authority.make("right")
        authority.write(path / "ca.crt")
        Authority.make("wrong").write(path / "other-ca.crt")
        authority.issue("server", path / "data" / "server.crt", path / "data" / "server.key")
        authority.issue("holder", path / "client.crt", path / "client.key")
        shutil.copy(path / "ca.crt", path / "data" / "ca.crt")
        for name in ("server.crt", "server.key", "ca.crt"):
            shutil.chown(path / "data" / name, "postgres", "postgres")
        (path / "data" / "pg_hba.conf").write_text(_ACCESS)
        with (path / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {_PORT}\nssl = on\nssl_ca_file = 'ca.crt'\n")
        server.start(listen="127.0.0.1", port=_PORT)
        subprocess.run(
            ["psql", "-q", "-h", path, "-p", str(_PORT), "-U", "postgres", "-c", "CREATE ROLE holder LOGIN SUPERUSER"],
            check=True,
        )
        yield path
    finally:
        if server.process is not None:
            server.stop()
        shutil.rmtree(path)


@pytest.mark.parametrize(
    "options",
    [
        "sslmode=require",
        "sslmode=verify-ca&sslrootcert={0}/ca.crt",
        "sslmode=verify-full&sslrootcert={0}/ca.crt",
    ],
)
async def test_a_server_with_a_certificate(folder: Path, clock: Any, options: str) -> None:
    url = f"postgresql://postgres@127.0.0.1:{_PORT}/postgres?{options.format(folder)}"
    await _works(url, clock)


async def test_a_client_with_a_certificate(folder: Path, clock: Any) -> None:
    files = f"sslrootcert={folder}/ca.crt&sslcert={folder}/client.crt&sslkey={folder}/client.key"
    await _works(f"postgresql://holder@127.0.0.1:{_PORT}/postgres?sslmode=verify-full&{files}", clock)


async def _works(url: str, clock: Any) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    store = await open_endpoint(url, clock=clock)
    try:
        record = await store.create("/a", b"1")
        assert await store.get("/a") == record
        question = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert await store._connections.use(lambda found: found.fetchval(question))  # type: ignore[attr-defined]
        watch = store.watch("/", start_revision=3)
        await store.update("/a", b"2", expected_revision=record.mod_revision)
        assert [change.record.value for change in await watch.__anext__()] == [b"2"]
    finally:
        await store.close()
    assert (await tools.stats(url)).revision == 3


@pytest.mark.parametrize(
    ("user", "host", "options", "says"),
    [
        ("postgres", "127.0.0.1", "sslmode=disable", "rejects connection|no encryption"),
        ("postgres", "127.0.0.1", "sslmode=verify-full&sslrootcert={0}/other-ca.crt", "certificate verify failed"),
        ("postgres", "localhost", "sslmode=verify-full&sslrootcert={0}/ca.crt", "certificate verify failed"),
        ("holder", "127.0.0.1", "sslmode=verify-full&sslrootcert={0}/ca.crt", "certificate"),
        ("postgres", "127.0.0.1", "sslmode=verify-full&sslrootcert={0}/none.crt", "none.crt"),
        ("postgres", "127.0.0.1", "sslmode=sometimes", "sslmode"),
    ],
    ids=["no TLS", "another authority", "another name", "no client certificate", "no such file", "unknown mode"],
)
async def test_what_does_not_fit_is_refused_with_the_reason(
    folder: Path, clock: Any, user: str, host: str, options: str, says: str
) -> None:
    url = f"postgresql://{user}:secret@{host}:{_PORT}/postgres?{options.format(folder)}"
    for attempt in (partial(open_endpoint, url, clock=clock), partial(tools.stats, url)):
        with pytest.raises((StoreUnavailable, ValueError), match=says) as refused:
            await attempt()
        assert "\n" not in str(refused.value) and "secret" not in str(refused.value)
