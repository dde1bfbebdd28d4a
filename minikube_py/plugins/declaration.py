"""What a plugin file says: a ``Plugin`` with decorated functions. Pure data; nothing runs here.

Every decorator checks at once what can be known without a server (the kind's form, the number of arguments, whether
the function may be ``async``) and raises ``PluginError`` with a text that names the function.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minikube_py.machinery.objects import Object

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")
POLICIES = ("Fail", "Ignore")
F = TypeVar("F", bound=Callable[..., Any])


class PluginError(Exception):
    """A plugin that cannot be used; the text is one line with the cause."""


class Deny(Exception):
    """Raised by an admission hook to refuse a request; the text is what the user sees."""


@dataclass(slots=True)
class Request:
    """What an admission hook sees. A mutating hook changes ``object`` in place; ``old`` is shared and read-only.

    ``object`` is None for DELETE, ``old`` for CREATE. ``warn`` adds a Warning header to the answer.
    """

    operation: str
    kind: str
    api_version: str
    namespace: str
    name: str
    user: str
    groups: Sequence[str]
    object: Any
    old: Object | None
    dry_run: bool
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass(frozen=True, slots=True)
class Controller:
    """``reconcile(ctx, key)`` for every object of a kind, and for those that own a changed object of ``owns``."""

    kind: str
    owns: tuple[str, ...]
    reconcile: Callable[..., Awaitable[float | None]]
    workers: int
    timeout_seconds: float

    @property
    def name(self) -> str:
        return self.reconcile.__name__


@dataclass(frozen=True, slots=True)
class Hook:
    """An admission hook; ``mutating`` ones run before validation."""

    kind: str
    operations: frozenset[str]
    function: Callable[..., Any]
    mutating: bool
    timeout_seconds: float
    failure_policy: str

    @property
    def name(self) -> str:
        return self.function.__name__


@dataclass(frozen=True, slots=True)
class Rule:
    """A scheduler rule: ``filter`` gives None or a reason, ``score`` a number from 0 to 100."""

    point: str
    function: Callable[..., Any]
    weight: int = 1

    @property
    def name(self) -> str:
        return self.function.__name__


@dataclass(frozen=True, slots=True)
class Background:
    """A coroutine function that runs as long as the server; ended or failed, it is started again with back-off."""

    function: Callable[..., Awaitable[None]]

    @property
    def name(self) -> str:
        return self.function.__name__


class Plugin:
    """One plugin. ``name`` is a DNS label of at most 40 characters and unique on the server."""

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(f"plugin name {name!r} must be lower case letters, digits and dashes, at most 40")
        self.name = name
        self.controllers: list[Controller] = []
        self.hooks: list[Hook] = []
        self.rules: list[Rule] = []
        self.backgrounds: list[Background] = []

    def controller(
        self, kind: str, *, owns: Sequence[str] = (), workers: int = 2, timeout_seconds: float = 60.0
    ) -> Callable[[F], F]:
        """Reconcile objects of ``kind`` ("example.com/v1/Widget"); the function is ``async (ctx, key)``.

        It returns None, or the seconds after which the key is looked at again; a failure comes again with growing
        delays.
        """
        for text in (kind, *owns):
            split_kind(text)
        _positive("workers", workers)
        _positive("timeout_seconds", timeout_seconds)

        def declare(function: F) -> F:
            _check(function, 2, "async", "(ctx, key)")
            self.controllers.append(Controller(kind, tuple(owns), function, workers, timeout_seconds))
            return function

        return declare

    def validate(
        self,
        kind: str,
        *,
        operations: Sequence[str] = ("CREATE", "UPDATE"),
        timeout_seconds: float = 5.0,
        failure_policy: str = "Fail",
    ) -> Callable[[F], F]:
        """Judge writes of ``kind``; the function is ``(request)``, async or not, and raises ``Deny``."""
        return self._hook(kind, operations, timeout_seconds, failure_policy, mutating=False)

    def mutate(
        self,
        kind: str,
        *,
        operations: Sequence[str] = ("CREATE", "UPDATE"),
        timeout_seconds: float = 5.0,
        failure_policy: str = "Fail",
    ) -> Callable[[F], F]:
        """Change writes of ``kind``: the function, as for ``validate``, edits ``request.object`` in place."""
        return self._hook(kind, operations, timeout_seconds, failure_policy, mutating=True)

    def _hook(
        self, kind: str, operations: Sequence[str], timeout_seconds: float, failure_policy: str, *, mutating: bool
    ) -> Callable[[F], F]:
        split_kind(kind)
        wrong = [operation for operation in operations if operation not in OPERATIONS]
        if wrong or not operations:
            raise PluginError(f"operations {list(operations)!r}: use some of {', '.join(OPERATIONS)}")
        if failure_policy not in POLICIES:
            raise PluginError(f"failure_policy {failure_policy!r} must be Fail or Ignore")
        _positive("timeout_seconds", timeout_seconds)

        def declare(function: F) -> F:
            _check(function, 1, "any", "(request)")
            hook = Hook(kind, frozenset(operations), function, mutating, timeout_seconds, failure_policy)
            self.hooks.append(hook)
            return function

        return declare

    def filter(self, function: F) -> F:
        """A scheduler filter ``(pod, node)``: None when the pod may run on the node, else the reason why not."""
        _check(function, 2, "plain", "(pod, node)")
        self.rules.append(Rule("filter", function))
        return function

    def score(self, *, weight: int = 1) -> Callable[[F], F]:
        """A scheduler score ``(pod, node)``: 0 to 100, higher is better."""
        _positive("weight", weight)

        def declare(function: F) -> F:
            _check(function, 2, "plain", "(pod, node)")
            self.rules.append(Rule("score", function, weight))
            return function

        return declare

    def background(self, function: F) -> F:
        """A coroutine function ``async (ctx)`` that runs as long as the server."""
        _check(function, 1, "async", "(ctx)")
        self.backgrounds.append(Background(function))
        return function

    @property
    def parts(self) -> list[str]:
        """What the plugin declares, for people."""
        return [
            *(f"controller {part.name} of {part.kind}" for part in self.controllers),
            *(f"{'mutate' if part.mutating else 'validate'} {part.name} of {part.kind}" for part in self.hooks),
            *(f"{part.point} {part.name}" for part in self.rules),
            *(f"background {part.name}" for part in self.backgrounds),
        ]


def split_kind(text: str) -> tuple[str, str]:
    """("apps/v1", "Deployment") of "apps/v1/Deployment". Raises PluginError."""
    api_version, _, kind = text.rpartition("/") if isinstance(text, str) else ("", "", "")
    if not kind or not api_version or api_version.count("/") > 1 or not kind[0].isupper():
        raise PluginError(f"kind {text!r} must be group/version/Kind, or version/Kind for the core group")
    return api_version, kind


def _positive(name: str, value: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise PluginError(f"{name} {value!r} must be a positive number")


def _check(function: Any, arguments: int, sort: str, shape: str) -> None:
    """Raise PluginError unless the function can be called as it will be."""
    name = getattr(function, "__name__", repr(function))
    if not callable(function):
        raise PluginError(f"{name} is not a function")
    is_async = inspect.iscoroutinefunction(function)
    if sort == "async" and not is_async:
        raise PluginError(f"{name} must be declared with async def")
    if sort == "plain" and is_async:
        raise PluginError(f"{name} must not be async: the scheduler decides without waiting")
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        raise PluginError(f"{name} must take {shape}") from None
