"""Front proxies: a peer with a certificate of the request-header CA names the user in headers.

Without such a certificate the headers mean nothing. Same rules as ``request/headerrequest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from minikube_py.components.apiserver.authentication.certificates import CertificateJudge
from minikube_py.components.apiserver.authentication.identity import as_authenticated, header_values
from minikube_py.components.apiserver.types import Credentials, UserInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaderNames:
    """Which headers speak, and which proxies (by common name; none listed: every one) may use them."""

    user: tuple[str, ...] = ("X-Remote-User",)
    uid: tuple[str, ...] = ("X-Remote-Uid",)
    group: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)
    allowed_names: tuple[str, ...] = ("system:auth-proxy",)


class RequestHeaderAuthenticator:
    """Users named by trusted front proxies."""

    def __init__(self, judge: CertificateJudge, names: RequestHeaderNames) -> None:
        self._judge = judge
        self._names = names

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        user = _first(credentials.headers, self._names.user)
        if not user or not credentials.peer_certificate_der:
            return None
        proxy = self._judge.user_of(credentials.peer_certificate_der, credentials.peer_chain)
        if proxy is None or (self._names.allowed_names and proxy.name not in self._names.allowed_names):
            return None
        groups = tuple(value for name in self._names.group for value in header_values(credentials.headers, name))
        extra = extra_from_headers(list(credentials.headers.items()), self._names.extra_prefixes)
        return as_authenticated(UserInfo(user, groups, _first(credentials.headers, self._names.uid), extra))


def extra_from_headers(headers: Sequence[tuple[str, str]], prefixes: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Extra values: keys are what follows the prefix, lower-case and percent-decoded."""
    extra: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        lowered = name.lower()
        for prefix in prefixes:
            if lowered.startswith(prefix.lower()):
                key = unquote(lowered[len(prefix) :]).lower()
                extra[key] = (*extra.get(key, ()), value)
    return extra


def _first(headers: Mapping[str, str], names: Sequence[str]) -> str:
    for name in names:
        for value in header_values(headers, name):
            if value:
                return value
    return ""
