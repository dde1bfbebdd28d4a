"""An event recorder that remembers instead of writing."""

from __future__ import annotations

from dataclasses import dataclass, field

from minikube_py.machinery.objects import Object, name_of


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """What a caller recorded."""

    kind: str
    name: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class FakeRecorder:
    """Implements ``client.types.EventRecorder``; ``events`` in the order of recording."""

    events: list[RecordedEvent] = field(default_factory=list)

    def event(self, regarding: Object, type: str, reason: str, message: str) -> None:
        """Remember an event."""
        kind = str(regarding.get("kind", ""))
        self.events.append(RecordedEvent(kind, name_of(regarding), type, reason, message))

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]
