"""``pyk3s certificate``: check, rotate and replace certificates; names and flags are k3s's.

Each command parses, calls one function of ``pki`` and prints. They work beside a running server, which
takes in what changes. Exit codes: 0 done; 1 a failure, or an unusable certificate found by ``check``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minikube_py import config

if TYPE_CHECKING:
    from minikube_py.pki.inspection import Inspected


@click.group()
def certificate() -> None:
    """The cluster's certificates: check, rotate, rotate-ca."""


def _data_dir_option(command: Any) -> Any:
    return click.option("-d", "--data-dir", default=None, help="Folder of the server's state")(command)


def _service_option(command: Any) -> Any:
    text = "Only this service: admin, api-server, auth-proxy, controller-manager, scheduler, kubelet, kube-proxy"
    return click.option("-s", "--service", "services", multiple=True, help=text)(command)


def _data_dir(given: str | None) -> Path:
    settings = config.load_settings({"data_dir": given} if given else {}, config.environment())
    return Path(settings.data_dir).resolve()


def _names(services: Sequence[str]) -> list[str]:
    """Repeatable, and split at commas as in k3s."""
    return [part for text in services for part in text.split(",") if part]


@certificate.command()
@_data_dir_option
@_service_option
@click.option("-o", "--output", type=click.Choice(["table", "text", "json"]), default="table", help="Form [table]")
def check(data_dir: str | None, services: tuple[str, ...], output: str) -> None:
    """Show what every certificate is for and when it ends.

    Fails when one of them cannot be used.
    """
    from minikube_py.client.clock import SystemClock
    from minikube_py.pki.errors import PkiError
    from minikube_py.pki.inspection import inspect_certificates, inspect_worker, is_worker
    from minikube_py.pki.layout import open_floor
    from minikube_py.pki.rotation import service_leaves

    folder = _data_dir(data_dir)
    try:
        names = service_leaves(_names(services)) if services else ()
        floor = open_floor(folder, SystemClock())
        worker = is_worker(folder)
        found = inspect_worker(folder, floor.now()) if worker else inspect_certificates(folder, floor.now(), names)
    except PkiError as error:
        sys.exit(f"pyk3s: {error}")
    if report := floor.report():
        click.echo(f"pyk3s: {report}", err=True)
    {"table": _print_table, "text": _print_text, "json": _print_json}[output](found)
    bad = sum(not one.is_usable for one in found)
    if bad:
        sys.exit(f"pyk3s: {bad} of {len(found)} certificates cannot be used")


def _print_table(found: Sequence[Inspected]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"OK": "green", "WARNING": "yellow"}
    table = Table("FILENAME", "SUBJECT", "USAGES", "EXPIRES", "RESIDUAL TIME", "STATUS")
    for one in found:
        status = f"[{colours.get(one.verdict, 'red')}]{one.verdict}[/]" + (f" {one.note}" if one.note else "")
        table.add_row(one.file.name, one.subject, one.usages, _date(one), _residual(one.residual_seconds), status)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _print_text(found: Sequence[Inspected]) -> None:
    for one in found:
        note = f" ({one.note})" if one.note else ""
        click.echo(f"{one.file}: {one.subject or '-'}: {one.verdict}: ends {_date(one)}{note}")


def _print_json(found: Sequence[Inspected]) -> None:
    rows = [
        {
            "filename": str(one.file),
            "subject": one.subject,
            "usages": one.usages,
            "expiryTime": _date(one),
            "residualSeconds": int(one.residual_seconds),
            "status": str(one.verdict),
            "note": one.note,
        }
        for one in found
    ]
    click.echo(json.dumps(rows, indent=2))


def _date(one: Inspected) -> str:
    from minikube_py.machinery.times import rfc3339

    return rfc3339(one.ends) if one.ends else "-"


def _residual(seconds: float) -> str:
    """Years and days, or hours and minutes at the end, as k3s shows it."""
    if seconds <= 0:
        return "none"
    days, rest = divmod(int(seconds), 86_400)
    if days >= 365:
        return f"{days // 365}y{days % 365}d"
    return f"{days}d" if days else f"{rest // 3600}h{rest % 3600 // 60}m"


@certificate.command()
@_data_dir_option
@_service_option
def rotate(data_dir: str | None, services: tuple[str, ...]) -> None:
    """Give leaf certificates new keys and a new year.

    A running server takes them in at once.
    """
    from minikube_py.client.clock import SystemClock
    from minikube_py.pki.errors import PkiError
    from minikube_py.pki.rotation import rotate_leaves

    try:
        done = rotate_leaves(_data_dir(data_dir), SystemClock(), _names(services))
    except PkiError as error:
        sys.exit(f"pyk3s: {error}")
    click.echo(f"rotated {', '.join(done.names)}; the old files are in {done.backup}")


@certificate.command("rotate-ca")
@_data_dir_option
@click.option(
    "--path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the new server-ca.crt, server-ca.key, client-ca..., request-header-ca..., service.key",
)
@click.option("--force", is_flag=True, help="Also where the old CA cannot sign the new one, or the new one ends soon")
@click.option("--distrust-old", is_flag=True, help="Do not trust what the old CA has signed any more (a stolen key)")
def rotate_ca(data_dir: str | None, path: Path | None, force: bool, distrust_old: bool) -> None:
    """Replace the certificate authorities.

    New ones, or those in --path, take their place, and all that they signed is signed anew.

    The old authorities sign the new ones and stay trusted until they end, so nobody is cut off.
    """
    from minikube_py.client.clock import SystemClock
    from minikube_py.pki.errors import PkiError
    from minikube_py.pki.join_tokens import load_join_tokens
    from minikube_py.pki.rotation import rotate_authorities

    folder = _data_dir(data_dir)
    try:
        done = rotate_authorities(folder, SystemClock(), source=path, force=force, distrust_old=distrust_old)
        token = load_join_tokens(folder).agent
    except PkiError as error:
        sys.exit(f"pyk3s: {error}")
    click.echo(f"rotated {', '.join(done.names)}; the old files are in {done.backup}")
    click.echo(f"agents join with: {token}")
