"""The server's own join tokens as bearer tokens, ``<user>:<secret>``: they stand for a node that introduces itself.

k3s takes them as passwords on paths of its own; here whoever shows one is a bootstrapping node, exactly as with a
bootstrap token, and may do what its groups are bound to. The tokens lie in the data folder and are followed there, so
that ``pyk3s token rotate`` shuts the old one out at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minikube_py.components.apiserver.authentication.bootstrap_tokens import BOOTSTRAPPERS
from minikube_py.components.apiserver.authentication.identity import TokenIdentity, as_authenticated, intersect
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.pki.errors import PkiError
from minikube_py.pki.join_tokens import AGENT_USER, SERVER_USER, JoinTokens, load_join_tokens


class JoinTokenAuthenticator:
    """Accepts the present tokens; ``groups`` are added to ``system:bootstrappers``."""

    def __init__(self, tokens: JoinTokens, groups: Sequence[str], api_audiences: Sequence[str]) -> None:
        self._tokens = tokens
        self._groups = (BOOTSTRAPPERS, *groups)
        self._api_audiences = tuple(api_audiences)

    async def adopt(self, tokens: JoinTokens) -> None:
        """Accept these from now on, and no others."""
        self._tokens = tokens

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        user, colon, secret = token.partition(":")
        if not colon or user not in (SERVER_USER, AGENT_USER) or not self._tokens.role_of(user, secret):
            return None
        granted = intersect(audiences, self._api_audiences)
        if not granted:
            return None
        return TokenIdentity(as_authenticated(UserInfo(f"system:bootstrap:{user}", self._groups)), granted)


def token_file(data_dir: Path) -> Path:
    """The file whose change tells that the tokens were rotated."""
    return data_dir / "server" / "token"


def read_join_tokens(file: Path) -> JoinTokens:
    """The tokens of the installation that ``file`` (``token_file``) belongs to. Blocks. Raises ConfigurationError."""
    try:
        return load_join_tokens(file.parent.parent)
    except (PkiError, OSError) as error:
        raise ConfigurationError(str(error)) from error
