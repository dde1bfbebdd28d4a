"""The ``pyk3s`` command. Each command parses into a typed record, calls one function and prints.

Exit codes: 0 done; 1 a failure or a wrong command line, told in one line on standard error.
``pyk3s kubectl`` has kubectl's own.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import click

from minikube_py import KUBERNETES_VERSION, __version__, config
from minikube_py.cli_agent import agent
from minikube_py.cli_certificate import certificate
from minikube_py.cli_datastore import datastore
from minikube_py.cli_options import given, help_of, settings_options
from minikube_py.cli_plugins import plugins
from minikube_py.cli_secrets_encrypt import secrets_encrypt
from minikube_py.cli_token import token


class OneLineErrors(click.Group):
    """Shows every expected failure, usage errors included, as one line and exits with 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            return super().main(*args, **kwargs)
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())  # a group alone asks what there is
        except click.ClickException as error:
            sys.exit(f"pyk3s: {error.format_message()}")
        except (click.Abort, KeyboardInterrupt):
            sys.exit("pyk3s: interrupted")
        except config.ConfigError as error:
            sys.exit(f"pyk3s: {error}")
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            sys.exit(f"pyk3s: {named}{error.strerror or error}")


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(f"{__version__} (Kubernetes {KUBERNETES_VERSION})", prog_name="pyk3s")
def main() -> None:
    """Lightweight Kubernetes in one process."""
    # grpcio's fork handlers kill some of the programs that we start from the loop; it reads this when imported.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


@main.command()
@settings_options(config.ServerSettings)
def server(**flags: Any) -> None:
    """Run a cluster on this machine.

    That is the API server, the datastore, the controllers, the scheduler and, unless disabled, a node.
    """
    from minikube_py.server import run_server
    from minikube_py.serving.errors import StartError

    settings = config.load_settings(given(flags), config.environment())
    try:
        run_server(settings)
    except StartError as error:
        sys.exit(f"pyk3s: {error}")


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> None:
    """Run kubectl with the administrator's kubeconfig."""
    from minikube_py.tools import ToolMissing, run_kubectl

    try:
        run_kubectl(arguments, config.environment())
    except ToolMissing as error:
        sys.exit(f"pyk3s: {error}")


@main.group()
def images() -> None:
    """Container images of this node."""


def _node_options(command: Any) -> Any:
    """The options that say which cluster of this machine a node command means."""
    for name in ("config", "bridge_name", "run_dir", "data_dir"):
        item = next(field for field in dataclasses.fields(config.ServerSettings) if field.name == name)
        names = [f"--{config.flag_name(name)}", name]
        if item.metadata["short"]:
            names.insert(0, item.metadata["short"])
        command = click.option(*names, default=None, type=str, help=help_of(item))(command)
    return command


@images.command("import")
@click.argument("archives", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_node_options
def import_images(archives: tuple[Path, ...], **flags: Any) -> None:
    """Import OCI or docker archives into the running node."""
    from minikube_py.agent import NodeError, import_archives

    settings = config.load_settings(given(flags), config.environment())
    try:
        for name in import_archives(settings, archives):
            click.echo(f"imported {name}")
    except NodeError as error:
        sys.exit(f"pyk3s: {error}")


@main.command()
@_node_options
@click.option("--keep-data", is_flag=True, help="Stop everything, but keep the data folder and the kubeconfig")
@click.option("--yes", is_flag=True, help="Do not ask")
def uninstall(keep_data: bool, yes: bool, **flags: Any) -> None:
    """Remove every trace of a stopped server from this machine."""
    from minikube_py.agent import NodeError
    from minikube_py.uninstall import leftovers, remove_all

    settings = config.load_settings(given(flags), config.environment())
    if not yes:
        click.confirm(
            f"Stop all pods of {settings.data_dir}" + ("" if keep_data else " and delete all its data"), abort=True
        )
    try:
        remove_all(settings, keep_data=keep_data, say=click.echo)
        left = leftovers(settings, keep_data=keep_data)
    except NodeError as error:
        sys.exit(f"pyk3s: {error}")
    if left:
        sys.exit("pyk3s: left behind: " + ", ".join(left))
    click.echo("nothing is left behind")


main.add_command(agent)
main.add_command(certificate)
main.add_command(datastore)
main.add_command(plugins)
main.add_command(secrets_encrypt)
main.add_command(token)


if __name__ == "__main__":
    main()
