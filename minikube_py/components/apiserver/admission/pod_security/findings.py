"""What a check finds, and how the reference words it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.authorization.pod_needs import containers_of
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation: ``reason`` is short, ``detail`` names places."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Subject:
    """The pod, or the template of one, that is judged."""

    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]

    @property
    def pod_context(self) -> Mapping[str, Any]:
        return self.spec.get("securityContext") or {}

    @property
    def is_windows(self) -> bool:
        return bool((self.spec.get("os") or {}).get("name") == "windows")

    def containers(self) -> Iterator[Object]:
        return containers_of(self.spec)

    def contexts(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(name, securityContext) of every container."""
        for container in containers_of(self.spec):
            yield str(container.get("name", "")), container.get("securityContext") or {}


def plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


def quote(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def containers_named(names: Sequence[str]) -> str:
    return f"{plural('container', 'containers', len(names))} {quote(names)}"


def setters(pod: bool, names: Sequence[str]) -> str:
    """``pod and containers "a", "b"``."""
    parts = ["pod"] if pod else []
    if names:
        parts.append(containers_named(names))
    return " and ".join(parts)
