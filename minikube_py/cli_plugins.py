"""``pyk3s plugins``: look at the Python plugins of a server, and check a file before it is put there.

Exit codes: 0 done; 1 a failure, or a plugin that cannot be used.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from minikube_py import config


@click.group()
def plugins() -> None:
    """Python plugins of the server: list, check."""


@plugins.command("list")
@click.option("-d", "--data-dir", default=None, help="Folder of the server's state")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def list_plugins(data_dir: str | None, output: str) -> None:
    """Show what the server has loaded, and what it thinks of it."""
    from rich.console import Console
    from rich.table import Table

    from minikube_py.plugins.host import read_states

    settings = config.load_settings({"data_dir": data_dir} if data_dir else {}, config.environment())
    try:
        states = read_states(Path(settings.data_dir))
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f"pyk3s: cannot read the state of the plugins: {error}")
    if output == "json":
        click.echo(json.dumps([asdict(state) for state in states], indent=1))
        return
    table = Table("NAME", "STATE", "PARTS", "SOURCE", "DETAIL", box=None, pad_edge=False)
    for state in states:
        table.add_row(state.name, state.state, ", ".join(state.parts), state.source, state.detail)
    Console(soft_wrap=True).print(table)


@plugins.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Say what is wrong with plugin files.

    They are imported as a server would do it, but without a server.
    """
    from minikube_py.plugins.declaration import PluginError
    from minikube_py.plugins.loading import load_file

    failed = False
    for path in files:
        try:
            plugin = load_file(path.resolve())
        except PluginError as error:
            failed = True
            click.echo(f"{error}", err=True)
        else:
            click.echo(f"{path}: plugin {plugin.name}: {', '.join(plugin.parts)}")
    if failed:
        sys.exit(1)
