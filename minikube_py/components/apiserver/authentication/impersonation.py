"""Acting as somebody else: the ``Impersonate-*`` headers, each part of them authorized on its own.

Same rules as ``endpoints/filters/impersonation``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from minikube_py.components.apiserver.authentication.identity import (
    service_account_groups,
    split_service_account,
)
from minikube_py.components.apiserver.authentication.request_header import extra_from_headers
from minikube_py.components.apiserver.authorization.denial import denied
from minikube_py.components.apiserver.types import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Attributes,
    Authorizer,
    Decision,
    Headers,
    UserInfo,
)
from minikube_py.machinery.errors import internal

_PREFIX = "impersonate-"
EXTRA_PREFIX = "Impersonate-Extra-"
AUTHENTICATION_GROUP = "authentication.k8s.io"

Check = Callable[[Attributes], Awaitable[None]]


async def impersonate(user: UserInfo, headers: Headers, authorizer: Authorizer) -> UserInfo:
    """The user that the request acts as; ``user`` itself when no header asks for another.

    Raises ApiError(403) when the user may not impersonate a part of it, ApiError(500) for headers that name
    no user.
    """
    asked = [(name.lower(), value) for name, value in headers if name.lower().startswith(_PREFIX)]
    if not asked:
        return user
    name = next((value for key, value in asked if key == "impersonate-user"), "")
    uid = next((value for key, value in asked if key == "impersonate-uid"), "")
    groups = tuple(value for key, value in asked if key == "impersonate-group")
    extra = extra_from_headers(asked, (EXTRA_PREFIX,))
    if not name:
        if groups or uid or extra:
            raise internal("requested groups, uid or extra without impersonating a user")
        return user

    async def check(attributes: Attributes) -> None:
        decision, reason = await authorizer.authorize(user, attributes)
        if decision is not Decision.ALLOW:
            raise denied(user, attributes, reason)

    account = split_service_account(name)
    if account is not None:
        await check(_attributes("serviceaccounts", account[1], namespace=account[0]))
        groups_given = groups or service_account_groups(account[0])
    else:
        await check(_attributes("users", name))
        groups_given = groups
    for group in groups:
        await check(_attributes("groups", group))
    for key, values in extra.items():
        for value in values:
            await check(_attributes("userextras", value, group=AUTHENTICATION_GROUP, subresource=key))
    if uid:
        await check(_attributes("uids", uid, group=AUTHENTICATION_GROUP))
    return UserInfo(name, _complete(name, groups_given), uid, extra)


def _attributes(resource: str, name: str, *, namespace: str = "", group: str = "", subresource: str = "") -> Attributes:
    return Attributes(
        verb="impersonate",
        path="",
        resource_request=True,
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def _complete(name: str, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups with the one that every (un)authenticated user has."""
    own = UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return tuple(groups)
    return (*groups, own)
