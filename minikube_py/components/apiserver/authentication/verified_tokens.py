"""Remembers service account tokens whose signature was good, so that it is checked once and not on every request.

What is remembered holds only as long as the keys do: all is forgotten when others are adopted, so a token signed
with a key that was taken away is refused at once. Times and live objects are the caller's to check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from minikube_py.machinery.errors import unauthorized
from minikube_py.machinery.objects import Object
from minikube_py.pki.service_accounts import ServiceAccountTokens

T = TypeVar("T")


class VerifiedTokens(Generic[T]):
    """``read`` makes of claims what the authenticator needs; it raises ApiError(401) for claims of another kind."""

    def __init__(self, tokens: ServiceAccountTokens, read: Callable[[Object], T], *, most: int) -> None:
        self._tokens = tokens
        self._read = read
        self._most = most
        self._found: dict[str, T] = {}
        self._generation = tokens.generation

    def is_ours(self, token: str) -> bool:
        """Whether the token claims to be of our issuers."""
        return token in self._found or self._tokens.is_ours(token)

    def verify(self, token: str) -> T:
        """What the token says. Raises ApiError(401) unless one of the present keys has signed it."""
        if self._generation != self._tokens.generation:
            self._generation = self._tokens.generation
            self._found.clear()
        found = self._found.get(token)
        if found is None:
            claims = self._tokens.verify(token)
            if claims is None:
                raise unauthorized()
            found = self._read(claims)
            if len(self._found) >= self._most:
                self._found.clear()
            self._found[token] = found
        return found
