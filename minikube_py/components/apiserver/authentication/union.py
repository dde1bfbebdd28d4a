"""The chain of authenticators, in kube-apiserver's order.

Front proxies first, then client certificates, then bearer tokens, then the anonymous user. A bad bearer
token or a certificate that vouches for nobody is refused even where anonymous access is on: whoever presents
credentials wants to be known by them. Anonymous requests may be limited to some paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from minikube_py.components.apiserver.authentication.configuration import Anonymous
from minikube_py.components.apiserver.authentication.identity import BadToken, TokenAuthenticator, TokenIdentity
from minikube_py.components.apiserver.types import ANONYMOUS, Authenticator, Credentials, UserInfo
from minikube_py.machinery.errors import ApiError, unauthorized


class TokenUnion:
    """Tries token authenticators in order; an error of one does not keep the next from being asked."""

    def __init__(self, authenticators: Sequence[TokenAuthenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """The identity, or None. Raises the first error when nobody knows the token; its cause tells of all."""
        failure: ApiError | None = None
        causes: list[str] = []
        for authenticator in self._authenticators:
            try:
                identity = await authenticator.authenticate_token(token, audiences)
            except ApiError as error:
                failure = failure or error
                if isinstance(error.__cause__, BadToken):
                    causes.append(str(error.__cause__))
                continue
            if identity is not None:
                return identity
        if failure is not None:
            raise failure from (BadToken(", ".join(dict.fromkeys(causes))) if causes else failure.__cause__)
        return None


class AnonymousPolicy(Protocol):
    """Says for which paths anonymous requests are let in now."""

    @property
    def anonymous(self) -> Anonymous: ...


class UnionAuthenticator:
    """What the API server asks for every request. Raises ApiError(401) when nobody vouches."""

    def __init__(
        self,
        peers: Sequence[Authenticator],
        tokens: TokenUnion,
        *,
        api_audiences: Sequence[str],
        anonymous: AnonymousPolicy,
    ) -> None:
        self._peers = tuple(peers)
        self._tokens = tokens
        self._api_audiences = tuple(api_audiences)
        self._anonymous = anonymous

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        if credentials.peer_certificate_der:
            for authenticator in self._peers:
                user = await authenticator.authenticate(credentials)
                if user is not None:
                    return user
        if credentials.bearer_token:
            identity = await self._tokens.authenticate_token(credentials.bearer_token, self._api_audiences)
            if identity is None:
                raise unauthorized()
            return identity.user
        if credentials.peer_certificate_der or not self._anonymous.anonymous.allows(credentials.path):
            raise unauthorized()
        return ANONYMOUS
