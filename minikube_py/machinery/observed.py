"""A value that seldom changes, with those who want to know: the CA bundle, a set of addresses.

Handlers are called in the thread that sets the value, must not block, and only note that they have
work to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Observed(Generic[T]):
    """Holds the present value."""

    __slots__ = ("_handlers", "_value")

    def __init__(self, value: T) -> None:
        self._value = value
        self._handlers: list[Callable[[], None]] = []

    @property
    def value(self) -> T:
        return self._value

    def set(self, value: T) -> None:
        """Replace the value; an equal one is told to nobody."""
        if value == self._value:
            return
        self._value = value
        for handler in tuple(self._handlers):
            handler()

    def subscribe(self, handler: Callable[[], None]) -> Callable[[], None]:
        """Call ``handler`` after each change from now on; returns the function that ends it."""
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)
