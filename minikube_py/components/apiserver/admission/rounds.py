"""What webhooks and policies that change objects remember between the two rounds of the mutating phase.

Whoever changed the object makes those run again that want it, if the object has changed since they saw it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.objects import Object, thaw


@dataclass(slots=True)
class Memory:
    """A plugin's memory of one request; its keys say which webhook, or which policy with which parameter."""

    called: set[Hashable] = field(default_factory=set)
    """Those that had their turn and want another one after changes."""
    again: set[Hashable] = field(default_factory=set)
    """Those of them whose object has changed since."""
    output: Object | None = None
    """The object as the plugin left it in the first round, when that may bring some a second turn."""

    def changed(self) -> None:
        """The object is another one now."""
        self.again |= self.called
        self.called = set()


@contextmanager
def mutating_round(request: AdmissionRequest, plugin: str) -> Iterator[Memory]:
    """A plugin's turn in a round."""
    rounds = request.reinvocation
    memory: Memory = rounds.memory.setdefault(plugin, Memory())
    if rounds.again and memory.called and memory.output != request.object:
        memory.changed()
    try:
        yield memory
    finally:
        asked_again = rounds.wanted and not rounds.again and bool(memory.called)
        memory.output = thaw(request.object) if asked_again else None
