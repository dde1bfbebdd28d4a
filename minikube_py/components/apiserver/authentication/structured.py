"""The token authenticators of an AuthenticationConfiguration, replaced as a whole when the file changes.

Also knows for which paths anonymous requests are let in, since the same file says it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from minikube_py.components.apiserver.authentication.configuration import (
    Anonymous,
    AuthenticationConfiguration,
    JwtAuthenticator,
)
from minikube_py.components.apiserver.authentication.identity import TokenAuthenticator, TokenIdentity
from minikube_py.components.apiserver.authentication.union import TokenUnion

log = logging.getLogger(__name__)


class ClosableAuthenticator(TokenAuthenticator, Protocol):
    """A token authenticator that holds connections or tasks."""

    async def close(self) -> None:
        """Let go of them."""


class StructuredAuthentication:
    """Authenticates by the newest configuration; ``make`` turns one ``jwt`` entry into an authenticator."""

    def __init__(
        self,
        configuration: AuthenticationConfiguration,
        make: Callable[[JwtAuthenticator], ClosableAuthenticator],
        default_anonymous: Anonymous,
    ) -> None:
        self._make = make
        self._default_anonymous = default_anonymous
        self._made: tuple[ClosableAuthenticator, ...] = ()
        self._union = TokenUnion(())
        self.anonymous = default_anonymous
        self._take(configuration)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        return await self._union.authenticate_token(token, audiences)

    async def apply(self, configuration: AuthenticationConfiguration) -> None:
        """Use another configuration from now on; requests on their way end with the old one."""
        former = self._made
        self._take(configuration)
        await _close(former)
        log.info("authentication configuration reloaded", extra={"issuers": len(configuration.jwt)})

    async def close(self) -> None:
        """End what fetches keys."""
        await _close(self._made)

    def _take(self, configuration: AuthenticationConfiguration) -> None:
        self._made = tuple(self._make(jwt) for jwt in configuration.jwt)
        self._union = TokenUnion(self._made)
        self.anonymous = configuration.anonymous or self._default_anonymous


async def _close(authenticators: Sequence[ClosableAuthenticator]) -> None:
    for authenticator in authenticators:
        await authenticator.close()
