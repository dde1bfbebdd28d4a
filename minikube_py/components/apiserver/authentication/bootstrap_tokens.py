"""Bootstrap tokens (``abcdef.0123456789abcdef``): Secrets in kube-system that let new nodes introduce themselves.

Same rules as ``plugin/pkg/auth/authenticator/token/bootstrap``.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence

from minikube_py.components.apiserver.authentication.identity import (
    Now,
    TokenIdentity,
    as_authenticated,
    intersect,
)
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import unauthorized
from minikube_py.machinery.objects import Object, is_deleting
from minikube_py.machinery.times import parse_time

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
BOOTSTRAPPERS = "system:bootstrappers"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"


class BootstrapTokens:
    """Accepts tokens whose Secret allows authentication and has not expired."""

    def __init__(self, secret_lookup: Lookup, api_audiences: Sequence[str], now: Now) -> None:
        self._secrets = secret_lookup
        self._api_audiences = tuple(api_audiences)
        self._now = now

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        identifier, password = found[1], found[2]
        secret = await self._secrets.get(f"bootstrap-token-{identifier}", NAMESPACE)
        if secret is None or is_deleting(secret) or secret.get("type") != SECRET_TYPE:
            return None
        data = _decoded(secret)
        if not secrets.compare_digest(data.get("token-secret", ""), password) or data.get("token-id") != identifier:
            return None
        if data.get("usage-bootstrap-authentication") != "true" or _expired(data.get("expiration", ""), self._now()):
            return None
        groups = [group for group in data.get("auth-extra-groups", "").split(",") if group]
        if not all(_GROUP.fullmatch(group) for group in groups):
            raise unauthorized()
        granted = intersect(audiences, self._api_audiences)
        if not granted:
            return None
        user = UserInfo(f"system:bootstrap:{identifier}", (BOOTSTRAPPERS, *sorted(set(groups))))
        return TokenIdentity(as_authenticated(user), granted)


def _decoded(secret: Object) -> dict[str, str]:
    data: dict[str, str] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue  # one unreadable entry counts as missing, as an empty one does
    return data


def _expired(text: str, now: float) -> bool:
    """Whether the time has come; a time that cannot be read counts as come."""
    if not text:
        return False
    try:
        return now >= parse_time(text)
    except ValueError:
        return True
