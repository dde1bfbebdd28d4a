"""All plugins of a server: loads them, knows their states, switches off what goes on hurting.

In: the plugins folder. Out: an admission plugin, scheduler plugins, components for the supervisor (one for each
controller and background function, so that one's crash is nobody else's), and a state file that ``pyk3s plugins
list`` reads. Without plugins nothing of this runs and no thread exists.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from minikube_py.components.scheduler.framework import Plugin as FrameworkPlugin
from minikube_py.plugins.admission import PluginHooks
from minikube_py.plugins.context import Context
from minikube_py.plugins.controllers import run_background, run_declared_controller
from minikube_py.plugins.declaration import Plugin
from minikube_py.plugins.loading import Loaded, load_all
from minikube_py.plugins.scheduling import framework_plugins
from minikube_py.plugins.watchdog import Watchdog
from minikube_py.supervisor import Component, Ready

log = logging.getLogger(__name__)

most_offences = 3
_STATE = "plugins.json"


@dataclass(slots=True)
class State:
    """One plugin as people see it: ``state`` is Running, Disabled (it blocked too often) or Failed (to load)."""

    name: str
    source: str
    state: str
    parts: list[str]
    detail: str = ""
    offences: int = 0


class PluginHost:
    """See the module. Make it in a thread: loading blocks."""

    def __init__(self, folder: Path) -> None:
        self._file = folder.parent / _STATE
        self.watchdog = Watchdog(self._offence)
        self.hooks = PluginHooks(self.watchdog, self.enabled)
        self._plugins: list[Plugin] = []
        self._states: dict[str, State] = {}
        for item in load_all(folder):
            self._take(item)
        if self._states or self._file.exists():
            self._write(self._content())

    def _take(self, item: Loaded) -> None:
        if item.plugin is None:
            self._states[item.source] = State(Path(item.source).stem, item.source, "Failed", [], item.error)
            log.error("plugin cannot be used; going on without it", extra={"error": item.error})
            return
        plugin = item.plugin
        self._plugins.append(plugin)
        self._states[plugin.name] = State(plugin.name, item.source, "Running", plugin.parts)
        self.hooks.add(plugin.name, plugin.hooks)
        log.info("plugin loaded", extra={"plugin": plugin.name, "parts": len(plugin.parts)})

    @property
    def states(self) -> Sequence[State]:
        return list(self._states.values())

    @property
    def names(self) -> list[str]:
        return [plugin.name for plugin in self._plugins]

    def enabled(self, name: str) -> bool:
        return self._states[name].state == "Running"

    def scheduler_plugins(self) -> tuple[list[FrameworkPlugin], Mapping[str, int]]:
        rules = [(plugin.name, rule) for plugin in self._plugins for rule in plugin.rules]
        return framework_plugins(rules, self.watchdog, self.enabled)

    def components(self, context: Callable[[str], Context], needs: tuple[str, ...]) -> list[Component]:
        """One component for each controller and background function."""
        made: list[Component] = []
        for plugin in self._plugins:
            for controller in plugin.controllers:
                run = partial(run_declared_controller, controller=controller)
                made.append(self._component(plugin.name, controller.name, run, context, needs))
            for background in plugin.backgrounds:
                run = partial(run_background, background=background)
                made.append(self._component(plugin.name, background.name, run, context, needs))
        return made

    def _component(
        self,
        plugin: str,
        part: str,
        run: Callable[..., Awaitable[None]],
        context: Callable[[str], Context],
        needs: tuple[str, ...],
    ) -> Component:
        async def keep(ready: Ready) -> None:
            ready()
            await run(context(plugin), watchdog=self.watchdog, enabled=partial(self.enabled, plugin))

        return Component(f"plugin-{plugin}-{part}", keep, needs=needs)

    def close(self) -> None:
        self.watchdog.close()

    def _offence(self, part: str) -> None:
        state = self._states[part.partition(".")[0]]
        state.offences += 1
        state.detail = f"{part} blocked the event loop and was interrupted"
        if state.offences >= most_offences and state.state == "Running":
            state.state = "Disabled"
            log.error("plugin is switched off until the next start", extra={"plugin": state.name, "part": part})
        content = self._content()
        writing = asyncio.get_running_loop().run_in_executor(None, self._write, content)
        writing.add_done_callback(_report)

    def _content(self) -> str:
        return json.dumps([asdict(state) for state in self._states.values()])

    def _write(self, content: str) -> None:
        """Replace the state file. Blocks. Raises OSError."""
        fresh = self._file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        fresh.rename(self._file)


def _report(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled() and writing.exception() is not None:
        log.error("state of the plugins not written", extra={"error": str(writing.exception())})


def read_states(data_dir: Path) -> list[State]:
    """What the server last wrote about its plugins. Blocks. Raises OSError."""
    path = data_dir / "server" / _STATE
    return [State(**item) for item in json.loads(path.read_text())] if path.exists() else []
