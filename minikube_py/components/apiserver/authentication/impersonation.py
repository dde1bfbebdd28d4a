"""Acting as somebody else: the ``Impersonate-*`` headers, each part of them authorized on its own.

The modes of constrained impersonation are tried first: a requester with ``impersonate:<mode>`` rights on
the identity also needs ``impersonate-on:<mode>:<verb>`` on what the request does, and gets no more than
the mode allows (a node or service account with its fixed groups, or another user without system:masters).
Then the plain verb ``impersonate``, as it always was. The first refusal is what a requester is told when
no mode lets him. Same rules as ``endpoints/filters/impersonation`` of v1.36.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from minikube_py.components.apiserver.authentication.identity import (
    service_account_groups,
    split_service_account,
)
from minikube_py.components.apiserver.authentication.request_header import extra_from_headers
from minikube_py.components.apiserver.authorization.denial import denied
from minikube_py.components.apiserver.types import (
    ANONYMOUS,
    AUTHENTICATED,
    SYSTEM_MASTERS,
    UNAUTHENTICATED,
    Attributes,
    Authorizer,
    Decision,
    Headers,
    UserInfo,
)
from minikube_py.machinery.errors import ApiError, bad_request, go_quote
from minikube_py.machinery.names import dns1123_subdomain_errors, domain_prefixed_path_errors

_PREFIX = "impersonate-"
EXTRA_PREFIX = "Impersonate-Extra-"
AUTHENTICATION_GROUP = "authentication.k8s.io"
NODE_PREFIX = "system:node:"
NODES = "system:nodes"
NODE_NAME_EXTRA = "authentication.kubernetes.io/node-name"
ASSOCIATED_KEYS_EXTRA = "authentication.kubernetes.io/associated-node-keys"
many_checks = 4
"""From so many groups or extra values on, one check for all of them is tried before the single ones."""


@dataclass(frozen=True, slots=True)
class _Mode:
    """One way of impersonating. ``name`` is empty for the plain verb."""

    name: str
    applies: Callable[[UserInfo, UserInfo], bool]
    """Called with the wanted user and the requester."""

    @property
    def constrained(self) -> bool:
        return bool(self.name)

    @property
    def verb(self) -> str:
        return f"impersonate:{self.name}" if self.name else "impersonate"


async def impersonate(user: UserInfo, headers: Headers, authorizer: Authorizer, attributes: Attributes) -> UserInfo:
    """The user that the request acts as; ``user`` itself when no header asks for another.

    Raises ApiError(403) when the user may not, ApiError(400) for headers that name no user.
    """
    wanted = wanted_user(headers)
    if wanted is None:
        return user
    refusal: ApiError | None = None
    for mode in _MODES:
        if not mode.applies(wanted, user):
            continue
        try:
            return await _as_mode(mode, user, wanted, authorizer, attributes)
        except ApiError as error:
            if error.code != 403:
                raise
            refusal = refusal or error
    assert refusal is not None  # the plain verb applies to everybody
    raise refusal


def wanted_user(headers: Headers) -> UserInfo | None:
    """Whom the headers name, raw; None when there are none. Raises ApiError(400)."""
    asked = [(name.lower(), value) for name, value in headers if name.lower().startswith(_PREFIX)]
    if not asked:
        return None
    name = next((value for key, value in asked if key == "impersonate-user"), "")
    uid = next((value for key, value in asked if key == "impersonate-uid"), "")
    groups = tuple(value for key, value in asked if key == "impersonate-group")
    extra = extra_from_headers(asked, (EXTRA_PREFIX,))
    if name:
        return UserInfo(name, groups, uid, extra)
    if groups or uid or extra:
        listed = f"Groups:{_go_strings(groups)}, Extra:{{{', '.join(map(go_quote, sorted(extra)))}}}"
        raise bad_request(f'requested {{Name:"", UID:{go_quote(uid)}, {listed}}} without impersonating a user name')
    return None


def _go_strings(values: Sequence[str]) -> str:
    return "[" + ", ".join(map(go_quote, values)) + "]"


async def _as_mode(
    mode: _Mode, requester: UserInfo, wanted: UserInfo, authorizer: Authorizer, attributes: Attributes
) -> UserInfo:
    """The impersonated user. Raises ApiError(403) at the first part that the mode does not allow."""
    asking, node_name = requester, ""
    if mode.name == "associated-node":
        # An agent may act as the node that it runs on, whichever that is: what differs from node to node
        # is kept out of the question, so that one rule (and one remembered answer) serves all nodes.
        node_name = "*"
        asking = replace(requester, extra={ASSOCIATED_KEYS_EXTRA: tuple(sorted(requester.extra))})

    async def check(asked: Attributes) -> None:
        decision, reason = await authorizer.authorize(asking, asked)
        if decision is not Decision.ALLOW:
            raise denied(asking, asked, reason)

    if mode.constrained:
        await check(replace(attributes, verb=f"impersonate-on:{mode.name}:{attributes.verb}"))
    group = AUTHENTICATION_GROUP if mode.constrained else ""
    groups = wanted.groups
    node, account = node_of_user_name(wanted.name), split_service_account(wanted.name)
    if mode.constrained and node is not None:
        groups = (NODES,)
        await check(_attributes(mode, "nodes", node_name or node, group=group))
    elif account is not None:
        groups = groups or service_account_groups(account[0])
        await check(_attributes(mode, "serviceaccounts", account[1], namespace=account[0], group=group))
    else:
        await check(_attributes(mode, "users", wanted.name, group=group))
    if wanted.uid:
        await check(_attributes(mode, "uids", wanted.uid, group=AUTHENTICATION_GROUP))
    await _check_groups(mode, asking, wanted.groups, check, group)
    await _check_extra(mode, asking, wanted.extra, check)
    return UserInfo(wanted.name, _complete(wanted.name, groups), wanted.uid, wanted.extra)


_Check = Callable[[Attributes], Awaitable[None]]


async def _check_groups(mode: _Mode, asking: UserInfo, groups: Sequence[str], check: _Check, group: str) -> None:
    base = _attributes(mode, "groups", "", group=group)
    if mode.constrained:
        if "" in groups:
            raise denied(asking, base, "impersonating the empty string group is not allowed")
        if SYSTEM_MASTERS in groups:
            why = "impersonating the system:masters group is not allowed"
            raise denied(asking, replace(base, name=SYSTEM_MASTERS), why)
        if len(groups) >= many_checks and await _allowed(check, replace(base, name="*")):
            return
    for name in groups:
        await check(replace(base, name=name))


async def _check_extra(mode: _Mode, asking: UserInfo, extra: Mapping[str, Sequence[str]], check: _Check) -> None:
    base = _attributes(mode, "userextras", "", group=AUTHENTICATION_GROUP)
    if mode.constrained:
        for key, values in extra.items():
            if why := _extra_problem(key, values):
                raise denied(asking, base, why)
        many = sum(max(1, len(values)) for values in extra.values()) >= many_checks
        if many and await _allowed(check, replace(base, subresource="*", name="*")):
            return
    for key, values in extra.items():
        for value in values:
            await check(replace(base, subresource=key, name=value))


async def _allowed(check: _Check, attributes: Attributes) -> bool:
    try:
        await check(attributes)
    except ApiError as error:
        if error.code != 403:
            raise
        return False
    return True


def _extra_problem(key: str, values: Sequence[str]) -> str:
    if not key:
        return "impersonating the empty string key in extra is not allowed"
    if problems := domain_prefixed_path_errors(key):
        what = f"extra.key: Invalid value: {go_quote(key)}: {problems[0]}"
        return f"impersonating an invalid key in extra is not allowed: {what}"
    if "" in values:
        return "impersonating the empty string value in extra is not allowed"
    return ""


def _attributes(
    mode: _Mode, resource: str, name: str, *, namespace: str = "", group: str = "", subresource: str = ""
) -> Attributes:
    return Attributes(
        verb=mode.verb,
        path="",
        resource_request=True,
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def node_of_user_name(name: str) -> str | None:
    """The node's name in a kubelet's user name, or None."""
    node = name.removeprefix(NODE_PREFIX)
    return node if node != name and not dns1123_subdomain_errors(node) else None


def _only_named(wanted: UserInfo) -> bool:
    return not (wanted.uid or wanted.groups or wanted.extra)


def _is_own_node(wanted: UserInfo, requester: UserInfo) -> bool:
    node = node_of_user_name(wanted.name)
    if node is None or not _only_named(wanted) or split_service_account(requester.name) is None:
        return False
    return tuple(requester.extra.get(NODE_NAME_EXTRA, ())) == (node,)


_MODES = (
    _Mode("associated-node", _is_own_node),
    _Mode("arbitrary-node", lambda wanted, _: _only_named(wanted) and node_of_user_name(wanted.name) is not None),
    _Mode("serviceaccount", lambda wanted, _: _only_named(wanted) and split_service_account(wanted.name) is not None),
    _Mode(
        "user-info",
        lambda wanted, _: node_of_user_name(wanted.name) is None and split_service_account(wanted.name) is None,
    ),
    _Mode("", lambda wanted, requester: True),
)


def _complete(name: str, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups with the one that every (un)authenticated user has."""
    if name == ANONYMOUS.name:
        own = UNAUTHENTICATED
    elif UNAUTHENTICATED in groups:
        return tuple(groups)
    else:
        own = AUTHENTICATED
    return tuple(groups) if own in groups else (*groups, own)
