"""Brings plugins into a server: whether there are any, and what of the server they get to see.

``present`` is all that a server without plugins pays; nothing of ``minikube_py.plugins`` is imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import Resource

if TYPE_CHECKING:
    from minikube_py.client.types import EventRecorder
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.plugins.context import Context

_GROUP = b"[pyk3s.plugins]"


def plugins_folder(data_dir: Path) -> Path:
    return data_dir / "server" / "plugins"


def present(folder: Path) -> bool:
    """Whether there are plugin files, or installed packages that bring plugins. Blocks.

    Looks for the group in the metadata files itself: importlib.metadata takes 0.1 s to import.
    """
    if any(folder.glob("*.py")):
        return True
    for place in sys.path:
        with suppress(OSError):
            for file in Path(place or ".").glob("*.dist-info/entry_points.txt"):
                if _GROUP in file.read_bytes():
                    return True
    return False


class ServedKinds:
    """Implements ``plugins.context.Kinds`` on the API server's table."""

    def __init__(self, api: ApiServer) -> None:
        self._kinds = api.kinds
        self._listeners: list[Callable[[], None]] = []
        api.kinds.on_change(self._changed)

    def resource(self, api_version: str, kind: str) -> Resource | None:
        found = self._kinds.by_kind(api_version, kind)
        return found.resource if found is not None else None

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()


def context_of(name: str, api: ApiServer, kinds: ServedKinds, recorder: EventRecorder, clock: Clock) -> Context:
    """What a plugin is given; its client acts under a name of its own, with all rights."""
    from minikube_py.components.apiserver.types import AUTHENTICATED, SYSTEM_MASTERS, UserInfo
    from minikube_py.plugins.context import Context

    user = UserInfo(f"system:pyk3s:plugin:{name}", (SYSTEM_MASTERS, AUTHENTICATED))
    return Context(name, api.client(user, user_agent=f"plugin-{name}"), kinds, recorder, clock)
