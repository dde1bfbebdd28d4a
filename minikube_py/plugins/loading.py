"""Finds plugin files and entry points and imports them; every failure is one line about one plugin.

Files must be the server's user's own and writable by nobody else, as must their folder: what lies there is run with
all rights. Import blocks: call it from a thread.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from minikube_py.plugins.declaration import Plugin, PluginError

GROUP = "pyk3s.plugins"


@dataclass(frozen=True, slots=True)
class Loaded:
    """One file or entry point: its plugin, or why there is none."""

    source: str
    plugin: Plugin | None
    error: str = ""


def load_all(folder: Path) -> list[Loaded]:
    """All plugins of a folder (by file name) and of installed packages. Blocks."""
    found = [_loaded(str(path), partial(load_file, path)) for path in plugin_files(folder)]
    found += [_loaded(f"entry point {point.name}", partial(_load_point, point)) for point in _points()]
    seen: dict[str, str] = {}
    checked: list[Loaded] = []
    for item in found:
        if item.plugin is not None and item.plugin.name in seen:
            text = f"{item.source}: plugin name {item.plugin.name!r} is taken by {seen[item.plugin.name]}"
            item = Loaded(item.source, None, text)
        elif item.plugin is not None:
            seen[item.plugin.name] = item.source
        checked.append(item)
    return checked


def plugin_files(folder: Path) -> Sequence[Path]:
    """The plugin files of a folder in order; none where the folder does not exist."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))


def load_file(path: Path) -> Plugin:
    """Import one file. Blocks. Raises PluginError."""
    _check_owner(path.parent)
    _check_owner(path)
    spec = importlib.util.spec_from_file_location(f"pyk3s_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except PluginError as error:
        raise PluginError(f"{path}:{_line(error, path)}: {error}") from error
    except (Exception, SystemExit) as error:
        sys.modules.pop(spec.name, None)
        raise PluginError(f"{path}:{_line(error, path)}: {type(error).__name__}: {error}") from error
    return _plugin_of(module, str(path))


def _load_point(point: EntryPoint) -> Plugin:
    try:
        found = point.load()
    except Exception as error:
        raise PluginError(f"entry point {point.name}: {type(error).__name__}: {error}") from error
    if isinstance(found, ModuleType):
        return _plugin_of(found, f"entry point {point.name}")
    if not isinstance(found, Plugin):
        raise PluginError(f"entry point {point.name} must be a Plugin or a module with one named 'plugin'")
    return found


def _plugin_of(module: ModuleType, source: str) -> Plugin:
    found = getattr(module, "plugin", None)
    if not isinstance(found, Plugin):
        raise PluginError(f"{source} has no 'plugin': write plugin = Plugin(\"name\") at its top")
    if not found.parts:
        raise PluginError(f"{source} declares nothing: use a decorator such as @plugin.validate(...)")
    return found


def _loaded(source: str, load: Callable[[], Plugin]) -> Loaded:
    try:
        return Loaded(source, load())
    except (PluginError, OSError) as error:
        return Loaded(source, None, str(error))


def _points() -> Sequence[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _check_owner(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise PluginError(f"{path} belongs to user {found.st_uid}; run chown root {path}")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise PluginError(f"{path} can be written by others; run chmod go-w {path}")


def _line(error: BaseException, path: Path) -> int:
    """The line of the file at which an error came up."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 0
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else 0) or 0
