"""``pyk3s datastore``: look at, check, compact, move and serve a datastore without a cluster.

Each command parses, calls one function of ``datastore.tools`` (or ``datastore.etcd``) and prints.
Exit codes: 0 done; 1 a failure, or findings of ``check``.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from minikube_py import config

T = TypeVar("T")
_GC_THRESHOLDS = 20_000, 20, 100  # of `serve`: records hardly ever form cycles, and looking for some costs a put 3 %


@click.group()
def datastore() -> None:
    """The datastore: check, stats, top, compact, migrate, serve."""


def _endpoint_option(command: Any) -> Any:
    """``--datastore-endpoint``; without it the datastore of the server that is configured on this host."""
    text = "sqlite:///PATH or postgresql://... (default: the datastore of --data-dir)"
    command = click.option("--datastore-endpoint", "endpoint", default="", help=text)(command)
    return click.option("-d", "--data-dir", default=None, help="Folder of the server's state")(command)


def _endpoint(endpoint: str, data_dir: str | None) -> str:
    if endpoint:
        return endpoint
    given = {"data_dir": data_dir} if data_dir else {}
    return config.datastore_endpoint(config.load_settings(given, config.environment()))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; every expected failure is one line and exit code 1."""
    import uvloop

    from minikube_py.datastore.types import DatastoreError

    try:
        return uvloop.run(work)
    except (DatastoreError, ValueError, OSError) as error:
        sys.exit(f"pyk3s: {error}")


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


@datastore.command()
@_endpoint_option
def check(endpoint: str, data_dir: str | None) -> None:
    """Look for damage in the file or database; may run beside the server."""
    from minikube_py.datastore import tools

    report = _run(tools.check(_endpoint(endpoint, data_dir)))
    for finding in report.findings:
        click.echo(finding)
    if report.left_out:
        click.echo(f"... and {report.left_out} more")
    click.echo(f"{report.rows} rows up to revision {report.revision}")
    if report.findings:
        sys.exit(1)
    click.echo("no damage found")


@datastore.command()
@_endpoint_option
def stats(endpoint: str, data_dir: str | None) -> None:
    """How large it is, and how much of it is history."""
    from minikube_py.datastore import tools

    found = _run(tools.stats(_endpoint(endpoint, data_dir)))
    rows = [
        ("revision", str(found.revision)),
        ("compacted", str(found.compacted)),
        ("keys", str(found.keys)),
        ("live data", _size(found.live_bytes)),
        ("rows", str(found.rows)),
        ("superseded rows", f"{found.superseded_rows} ({_size(found.superseded_bytes)})"),
        ("size on disk", _size(found.size_bytes)),
        ("leases", str(found.leases)),
    ]
    for name, value in rows:
        click.echo(f"{name + ':':18}{value}")


@datastore.command()
@_endpoint_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="Rows of each table [20]")
def top(endpoint: str, data_dir: str | None, limit: int) -> None:
    """Which keys, folders and clients make it grow."""
    from rich.console import Console
    from rich.table import Table

    from minikube_py.datastore import tools

    found = _run(tools.top(_endpoint(endpoint, data_dir), limit=limit))
    console = Console()
    for title, usages in (("keys", found.keys), ("folders", found.folders)):
        table = Table("revisions", "bytes", title.removesuffix("s"), title=f"{title} by bytes in the log")
        for usage in usages:
            table.add_row(str(usage.revisions), _size(usage.bytes), usage.name)
        console.print(table)
    table = Table("revisions", "bytes", "client", "folder", title="clients by bytes written since the store was made")
    for row in found.churn:
        table.add_row(str(row.revisions), _size(row.bytes), row.client or "-", row.folder)
    console.print(table)


@datastore.command()
@_endpoint_option
@click.option("--revision", type=click.IntRange(0), default=0, help="Keep history from here on [all history goes]")
def compact(endpoint: str, data_dir: str | None, revision: int) -> None:
    """Forget history and give the space back; the server must be stopped."""
    from minikube_py.client.clock import SystemClock
    from minikube_py.datastore import tools

    report = _run(tools.compact(_endpoint(endpoint, data_dir), clock=SystemClock(), revision=revision))
    before, after = _size(report.before_bytes), _size(report.after_bytes)
    click.echo(f"compacted to revision {report.revision}: {before} before, {after} now")


@datastore.command()
@click.argument("source")
@click.argument("target")
def migrate(source: str, target: str) -> None:
    """Copy a datastore with all its revisions, sqlite:///... to postgresql://... or back."""
    from minikube_py.client.clock import SystemClock
    from minikube_py.datastore import tools

    report = _run(tools.migrate(source, target, clock=SystemClock()))
    click.echo(f"copied {report.rows} rows up to revision {report.revision}")


@datastore.command()
@_endpoint_option
@click.option("--etcd-listen", required=True, metavar="HOST:PORT", help="Where to speak etcd's v3 gRPC API")
@click.option("--cert-file", type=click.Path(exists=True, path_type=Path), help="Certificate: serve with TLS")
@click.option("--key-file", type=click.Path(exists=True, path_type=Path), help="Key of that certificate")
@click.option("--trusted-ca-file", type=click.Path(exists=True, path_type=Path), help="Ask clients for certificates")
@click.option(
    "--datastore-client-rate",
    "client_rate",
    type=click.IntRange(0),
    default=0,
    help="Writes a second that one client may make on average; beyond it waits [0: no limit]",
)
def serve(
    endpoint: str,
    data_dir: str | None,
    etcd_listen: str,
    cert_file: Path | None,
    key_file: Path | None,
    trusted_ca_file: Path | None,
    client_rate: int,
) -> None:
    """Serve a datastore as etcd does, without a cluster, until SIGTERM."""
    if (cert_file is None) != (key_file is None) or (trusted_ca_file and cert_file is None):
        sys.exit("pyk3s: --cert-file and --key-file belong together, and --trusted-ca-file needs both")
    files = [file for file in (cert_file, key_file, trusted_ca_file) if file is not None]
    _run(_serve(_endpoint(endpoint, data_dir), etcd_listen, files, client_rate))


async def _serve(endpoint: str, listen: str, tls_files: Sequence[Path], client_rate: int) -> None:
    """The store's housekeeping and its etcd face until SIGTERM or SIGINT.

    ``tls_files``: certificate, key and perhaps the clients' CA, which may be replaced meanwhile; or nothing.
    """
    from minikube_py.client.clock import SystemClock
    from minikube_py.datastore.endpoints import open_endpoint
    from minikube_py.datastore.etcd import serve_etcd
    from minikube_py.host.file_changes import signature_of
    from minikube_py.host.tls import ServerTls, follow_files

    gc.set_threshold(*_GC_THRESHOLDS)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    since = await asyncio.to_thread(signature_of, tls_files)
    tls = await asyncio.to_thread(ServerTls, partial(_tls_context, tls_files)) if tls_files else None
    store = await open_endpoint(endpoint, clock=clock, client_rate=client_rate)
    try:
        context = tls.context if tls else None
        face = serve_etcd(
            store, listen=listen, tls=context, ready=lambda: None, bound=lambda at: click.echo(f"serving {at}")
        )
        works = [asyncio.ensure_future(work) for work in (store.run(), face, stop.wait())]
        if tls is not None:
            works.append(asyncio.ensure_future(follow_files(tls, tls_files, clock, since=since)))
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
    finally:
        await store.close()


def _tls_context(files: Sequence[Path]) -> Any:
    from minikube_py.datastore.etcd import EtcdTls, etcd_context

    certificate, key, *authority = (file.read_bytes() for file in files)
    return etcd_context(EtcdTls(certificate, key, authority[0] if authority else None))
