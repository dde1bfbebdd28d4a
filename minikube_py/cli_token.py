"""``pyk3s token``: what nodes join with; names and flags are k3s's.

Bootstrap tokens (create, list, delete, generate) go through the API with the administrator's
kubeconfig; ``rotate`` replaces the server's own token in the data folder. Each command parses, calls one
function and prints. Exit codes: 0 done; 1 a failure.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from minikube_py import config

if TYPE_CHECKING:
    from minikube_py.bootstrap_tokens import Token
    from minikube_py.client.types import Client

T = TypeVar("T")


@click.group()
def token() -> None:
    """Tokens that nodes join with: create, list, rotate."""


def _kubeconfig_option(command: Any) -> Any:
    text = "Kubeconfig to reach the cluster with (default: $KUBECONFIG, or the one that this host's server writes)"
    return click.option("--kubeconfig", default="", help=text)(command)


def _kubeconfig(given: str) -> Path:
    environment = config.environment()
    return Path(given or environment.get("KUBECONFIG") or config.load_settings({}, environment).write_kubeconfig)


def _with_client(kubeconfig: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run against the API; every expected failure is one line and exit code 1."""
    from minikube_py.bootstrap_tokens import TokenError
    from minikube_py.client.http import kubeconfig_client
    from minikube_py.client.kubeconfig import KubeconfigError
    from minikube_py.machinery.errors import ApiError

    async def run() -> T:
        async with await kubeconfig_client(_kubeconfig(kubeconfig)) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except ApiError as error:
        sys.exit(f"pyk3s: {error.message}")
    except (TokenError, KubeconfigError) as error:
        sys.exit(f"pyk3s: {error}")


def _split(values: Sequence[str]) -> list[str]:
    return [part for text in values for part in text.split(",") if part]


@token.command()
@click.argument("new_token", metavar="[TOKEN]", default="")
@_kubeconfig_option
@click.option(
    "-d",
    "--data-dir",
    default=None,
    help="Folder of the server whose CA the token pins (default: the CA in the kubeconfig)",
)
@click.option("--description", default="", help="What the token is for")
@click.option("--groups", multiple=True, help="Groups that its users belong to [pyk3s's default node group]")
@click.option("--ttl", default="24h", help="How long it lives, such as 24h; 0 is for ever [24h]")
@click.option("--usages", multiple=True, help="What it may be used for [authentication,signing]")
def create(
    new_token: str,
    kubeconfig: str,
    data_dir: str | None,
    description: str,
    groups: tuple[str, ...],
    ttl: str,
    usages: tuple[str, ...],
) -> None:
    """Make a bootstrap token and print it.

    It is printed in the form that pins the cluster's CA.
    """
    from minikube_py import bootstrap_tokens
    from minikube_py.client.clock import SystemClock

    async def work(client: Client) -> str:
        return await bootstrap_tokens.create(
            client,
            SystemClock(),
            new_token,
            ttl_seconds=bootstrap_tokens.parse_ttl(ttl),
            usages=_split(usages) or bootstrap_tokens.USAGES,
            groups=_split(groups) or (bootstrap_tokens.NODE_GROUP,),
            description=description,
        )

    made = _with_client(kubeconfig, work)
    click.echo(_pinned(made, data_dir, _kubeconfig(kubeconfig)))


def _pinned(made: str, data_dir: str | None, kubeconfig: Path) -> str:
    """With the hash of the CA: of the server whose folder is given, else of the cluster in the kubeconfig."""
    from minikube_py.client.kubeconfig import load_kubeconfig
    from minikube_py.pki.files import read_file
    from minikube_py.pki.join_tokens import bootstrap_join_token

    own = read_file(Path(data_dir) / "server" / "tls" / "server-ca.crt") if data_dir else None
    authority = own or load_kubeconfig(kubeconfig).ca_pem
    return bootstrap_join_token(made, authority) if authority else made


@token.command("list")
@_kubeconfig_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form [text]")
def list_tokens(kubeconfig: str, output: str) -> None:
    """Show all bootstrap tokens (never their secrets)."""
    from minikube_py import bootstrap_tokens

    found = _with_client(kubeconfig, bootstrap_tokens.tokens)
    if output == "json":
        click.echo(json.dumps([_row(one) for one in found], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "GROUPS", box=None)
    for one in found:
        row = _row(one)
        table.add_row(*(row[key] for key in ("token", "ttl", "expires", "usages", "description", "groups")))
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _row(one: Token) -> dict[str, str]:
    from minikube_py.client.clock import SystemClock
    from minikube_py.machinery.times import rfc3339

    left = None if one.expires is None else one.expires - SystemClock().now()
    ttl = "<forever>" if left is None else "<invalid>" if left <= 0 else f"{left // 3600:.0f}h{left % 3600 // 60:.0f}m"
    return {
        "token": one.identifier,
        "ttl": ttl,
        "expires": "<never>" if one.expires is None else rfc3339(one.expires),
        "usages": ",".join(one.usages) or "<none>",
        "description": one.description or "<none>",
        "groups": ",".join(one.groups) or "<none>",
    }


@token.command()
@click.argument("given", metavar="TOKEN...", nargs=-1, required=True)
@_kubeconfig_option
def delete(given: tuple[str, ...], kubeconfig: str) -> None:
    """Forget bootstrap tokens, given whole or by their ids."""
    from minikube_py import bootstrap_tokens

    async def work(client: Client) -> list[str]:
        return [await bootstrap_tokens.delete(client, one) for one in given]

    for identifier in _with_client(kubeconfig, work):
        click.echo(f"bootstrap token {identifier!r} deleted")


@token.command()
def generate() -> None:
    """Print a random token; `pyk3s token create TOKEN` makes it known."""
    from minikube_py import bootstrap_tokens

    click.echo(bootstrap_tokens.generate())


@token.command()
@click.option("-d", "--data-dir", default=None, help="Folder of the server's state")
@click.option("-t", "--token", "old", required=True, help="The server's present token")
@click.option("--new-token", default="", help="The new secret (default: generated)")
def rotate(data_dir: str | None, old: str, new_token: str) -> None:
    """Replace the token that joins servers.

    It joins agents too, unless they have their own.
    """
    from minikube_py.pki.errors import PkiError
    from minikube_py.pki.join_tokens import rotate_server_token

    settings = config.load_settings({"data_dir": data_dir} if data_dir else {}, config.environment())
    folder = Path(settings.data_dir).resolve()
    try:
        made = rotate_server_token(folder, folder / "server" / "tls" / "server-ca.crt", old, new_token)
    except PkiError as error:
        sys.exit(f"pyk3s: {error}")
    click.echo(str(made))
    click.echo("nodes that have joined go on; change --token where it is configured", err=True)
