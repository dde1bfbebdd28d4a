"""``pyk3s secrets-encrypt``: encryption of Secrets at rest; names, stages and output are k3s's.

Each command parses, calls one function of ``secrets_encryption`` on the running server and prints.
Exit codes: 0 done; 1 a failure.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from minikube_py import config

if TYPE_CHECKING:
    from minikube_py.client.http import HttpClient

T = TypeVar("T")
_TYPES = {"aescbc": "AES-CBC", "aesgcm": "AES-GCM", "secretbox": "XSalsa20-POLY1305"}


@click.group("secrets-encrypt")
def secrets_encrypt() -> None:
    """Encryption of stored Secrets: status, on, off, new keys."""


def _options(command: Any) -> Any:
    text = "Kubeconfig to reach the cluster with (default: $KUBECONFIG, or the one that this host's server writes)"
    command = click.option("--kubeconfig", default="", help=text)(command)
    return click.option("-d", "--data-dir", default=None, help="Folder of the server's state")(command)


def _run(data_dir: str | None, kubeconfig: str, work: Callable[[HttpClient, Path], Awaitable[T]]) -> T:
    """Run against the server; every expected failure is one line and exit code 1."""
    from minikube_py.client.http import kubeconfig_client
    from minikube_py.client.kubeconfig import KubeconfigError
    from minikube_py.components.apiserver.configuration_file import ConfigurationError
    from minikube_py.components.apiserver.storage.encryption.managed import config_path
    from minikube_py.machinery.errors import ApiError
    from minikube_py.secrets_encryption import RotationError

    environment = config.environment()
    settings = config.load_settings({"data_dir": data_dir} if data_dir else {}, environment)
    file = config_path(Path(settings.data_dir).resolve())

    async def run() -> T:
        path = Path(kubeconfig or environment.get("KUBECONFIG") or settings.write_kubeconfig)
        async with await kubeconfig_client(path) as client:
            return await work(client, file)

    try:
        return asyncio.run(run())
    except ApiError as error:
        sys.exit(f"pyk3s: {error.message}")
    except (ConfigurationError, KubeconfigError, RotationError) as error:
        sys.exit(f"pyk3s: {error}")


@secrets_encrypt.command()
@_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def status(data_dir: str | None, kubeconfig: str, output: str) -> None:
    """Show whether Secrets are encrypted, and with which keys."""
    from minikube_py.secrets_encryption import status as read_status

    found = _run(data_dir, kubeconfig, read_status)
    if found is None:
        off = "Encryption Status: Disabled, no configuration file found; pyk3s server --secrets-encryption makes one"
        click.echo(json.dumps({"enabled": False}) if output == "json" else off)
        return
    if output == "json":
        keys = [{"type": kind, "name": name, "active": not index} for index, (kind, name) in enumerate(found.keys)]
        click.echo(json.dumps({"enabled": found.enabled, "stage": found.stage, "inUse": found.in_use, "keys": keys}))
        return
    click.echo(f"Encryption Status: {'Enabled' if found.enabled else 'Disabled'}")
    click.echo(f"Current Rotation Stage: {found.stage}")
    click.echo(f"Server Encryption Hashes: {'All hashes match' if found.in_use else 'the server uses another file'}\n")
    click.echo("Active  Key Type           Name\n------  --------           ----")
    for index, (kind, name) in enumerate(found.keys):
        click.echo(f"{' *' if found.enabled and not index else '':6}  {_TYPES[kind]:17}  {name}")


@secrets_encrypt.command()
@_options
def enable(data_dir: str | None, kubeconfig: str) -> None:
    """Encrypt Secrets from now on, and those that are there."""
    from minikube_py.secrets_encryption import switch

    count = _run(data_dir, kubeconfig, lambda client, path: switch(client, path, on=True))
    click.echo(f"secrets-encryption enabled; {count} secrets are encrypted")


@secrets_encrypt.command()
@_options
def disable(data_dir: str | None, kubeconfig: str) -> None:
    """Store Secrets in plain text, also those that are there."""
    from minikube_py.secrets_encryption import switch

    count = _run(data_dir, kubeconfig, lambda client, path: switch(client, path, on=False))
    click.echo(f"secrets-encryption disabled; {count} secrets are stored in plain text")


@secrets_encrypt.command()
@_options
def prepare(data_dir: str | None, kubeconfig: str) -> None:
    """Rotation, step 1: add a key."""
    from minikube_py.secrets_encryption import prepare as run_prepare

    _run(data_dir, kubeconfig, run_prepare)
    click.echo("prepare completed successfully")


@secrets_encrypt.command()
@_options
def rotate(data_dir: str | None, kubeconfig: str) -> None:
    """Rotation, step 2: write with the new key."""
    from minikube_py.secrets_encryption import rotate as run_rotate

    _run(data_dir, kubeconfig, run_rotate)
    click.echo("rotate completed successfully")


@secrets_encrypt.command()
@_options
def reencrypt(data_dir: str | None, kubeconfig: str) -> None:
    """Rotation, step 3: write every Secret anew.

    All are encrypted with the new key, and the old one is removed.
    """
    from minikube_py.secrets_encryption import reencrypt as run_reencrypt

    count = _run(data_dir, kubeconfig, run_reencrypt)
    click.echo(f"reencrypt completed successfully; {count} secrets are encrypted with the new key")


@secrets_encrypt.command("rotate-keys")
@_options
def rotate_keys(data_dir: str | None, kubeconfig: str) -> None:
    """All three steps of a rotation."""
    from minikube_py.secrets_encryption import rotate_keys as run_rotation

    count = _run(data_dir, kubeconfig, run_rotation)
    click.echo(f"keys rotated; {count} secrets are encrypted with the new key")
