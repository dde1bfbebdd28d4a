"""Command line options made from the fields of a settings record; what commands of several modules share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from minikube_py import config

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(kind: Any, aliases: Mapping[str, Sequence[str]] | None = None) -> Callable[[F], F]:
    """A decorator: one option for each field of ``kind`` (a settings record); absent ones stay absent.

    ``aliases`` gives further flags of a field.
    """

    def decorate(command: F) -> F:
        for item in reversed(dataclasses.fields(kind)):
            command = _option(item, (aliases or {}).get(item.name, ()))(command)
        return command

    return decorate


def _option(item: dataclasses.Field[Any], aliases: Sequence[str]) -> Callable[[F], F]:
    names = [f"--{config.flag_name(item.name)}", *aliases, item.name]
    if item.metadata["short"]:
        names.insert(0, item.metadata["short"])
    options: dict[str, Any] = {"default": None, "help": help_of(item)}
    if isinstance(item.default, tuple):
        options |= {"multiple": True, "type": str, "metavar": "TEXT"}
    elif isinstance(item.default, bool):
        names[names.index(f"--{config.flag_name(item.name)}")] += (
            f"/--no-{config.flag_name(item.name)}" if item.default else ""
        )
        options |= {"is_flag": True}
    elif item.metadata["choices"]:
        options["type"] = click.Choice(item.metadata["choices"])
    else:
        options["type"] = type(item.default)
    return click.option(*names, **options)


def help_of(item: dataclasses.Field[Any]) -> str:
    """A field's text and its default."""
    default = item.default
    if default in ("", (), False):
        return str(item.metadata["help"])
    shown = ",".join(default) if isinstance(default, tuple) else str(default).lower() if default is True else default
    return f"{item.metadata['help']} [{shown}]"


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Only the flags that were on the command line; repeatable ones split at commas as in k3s."""
    found: dict[str, Any] = {}
    for name, value in flags.items():
        if isinstance(value, tuple):
            if value:
                found[name] = tuple(part for text in value for part in text.split(",") if part)
        elif value is not None:
            found[name] = value
    return found
