"""Identities as authenticators make them, and the names Kubernetes gives to service accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from minikube_py.components.apiserver.types import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, UserInfo
from minikube_py.machinery.names import dns1123_label_errors, dns1123_subdomain_errors
from minikube_py.machinery.objects import Object

Now = Callable[[], float]
"""Unix seconds."""

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"


class BadToken(Exception):
    """Why a token is refused: the cause of a 401, which itself says nothing. TokenReviews tell it."""


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Whom a token stands for, and those of the asked audiences for which it was made.

    ``expires`` (Unix seconds) bounds how long the answer may be remembered.
    """

    user: UserInfo
    audiences: tuple[str, ...]
    expires: float = inf


class TokenAuthenticator(Protocol):
    """Turns a bearer token into an identity."""

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """The identity, None when the token is not of this kind. Raises ApiError(401) when it is and is bad.

        The error's cause may be a BadToken that says why.
        """


def service_account_user_name(namespace: str, name: str) -> str:
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return (SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{namespace}")


def service_account_user(namespace: str, name: str) -> UserInfo:
    """The identity of a service account that needs no token: a control loop in this process."""
    groups = (*service_account_groups(namespace), AUTHENTICATED)
    return UserInfo(service_account_user_name(namespace, name), groups)


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name, or None (``serviceaccount.SplitUsername``)."""
    if not user_name.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, separator, name = user_name[len(SERVICE_ACCOUNT_PREFIX) :].partition(":")
    if not separator or ":" in name or dns1123_label_errors(namespace) or dns1123_subdomain_errors(name):
        return None
    return namespace, name


def with_group(user: UserInfo, group: str) -> UserInfo:
    return UserInfo(user.name, (*user.groups, group), user.uid, user.extra)


def as_authenticated(user: UserInfo) -> UserInfo:
    """The user with ``system:authenticated``, as ``group.AuthenticatedGroupAdder`` adds it."""
    if user.name == ANONYMOUS.name or AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return with_group(user, AUTHENTICATED)


def user_object(user: UserInfo) -> Object:
    """The user as ``authentication.k8s.io/v1`` UserInfo; empty fields are left out."""
    body: Object = {}
    if user.name:
        body["username"] = user.name
    if user.uid:
        body["uid"] = user.uid
    if user.groups:
        body["groups"] = list(user.groups)
    if user.extra:
        body["extra"] = {key: list(values) for key, values in sorted(user.extra.items())}
    return body


def intersect(wanted: Sequence[str], offered: Iterable[str]) -> tuple[str, ...]:
    """What is in both, in the order of ``wanted``."""
    known = set(offered)
    return tuple(text for text in wanted if text in known)


def header_values(headers: Mapping[str, str], name: str) -> list[str]:
    """All values of a header; names are case-insensitive, multi-dicts keep repeated ones apart."""
    items = headers.items()
    lowered = name.lower()
    return [value for key, value in items if key.lower() == lowered]
