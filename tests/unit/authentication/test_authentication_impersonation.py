"""Impersonation: which headers ask for whom, and which rights each mode needs."""

from __future__ import annotations

import pytest

from minikube_py.components.apiserver.authentication.impersonation import impersonate
from minikube_py.components.apiserver.types import ANONYMOUS, Attributes, Decision, UserInfo
from minikube_py.machinery.errors import ApiError

REQUEST = Attributes("list", "/api/v1/namespaces/ns/pods", True, "", "v1", "pods", "", "ns")
ME = UserInfo("me", ("g",))
AGENT = UserInfo(
    "system:serviceaccount:kube-system:agent",
    ("system:serviceaccounts",),
    extra={"authentication.kubernetes.io/node-name": ("n1",)},
)
SYSTEM_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")


class Granted:
    """Allows what is listed as ``verb group/resource[/subresource] name``; remembers who asked."""

    def __init__(self, *rights: str) -> None:
        self.rights = rights
        self.extras: list[dict] = []

    async def authorize(self, user: UserInfo, a: Attributes) -> tuple[Decision, str]:
        self.extras.append(dict(user.extra))
        resource = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
        asked = f"{a.verb} {a.group}/{resource} {a.name}".strip()
        return (Decision.ALLOW if asked in self.rights else Decision.NO_OPINION), ""


def to(user: str, *groups: str, uid: str = "", **extra: str) -> list[tuple[str, str]]:
    headers = [("Impersonate-User", user)] if user else []
    headers += [("impersonate-group", group) for group in groups]
    headers += [("Impersonate-Uid", uid)] if uid else []
    return headers + [(f"Impersonate-Extra-{key}", value) for key, value in extra.items()]


JOE = UserInfo("joe", ("system:authenticated",))
ON_USER = "impersonate-on:user-info:list /pods"
AUTHN = "authentication.k8s.io"


@pytest.mark.parametrize(
    ("headers", "rights", "expected"),
    [
        ([], [], ME),
        (to("joe"), ["impersonate /users joe"], JOE),
        (
            to("joe", "a", "b"),
            ["impersonate /users joe", "impersonate /groups a", "impersonate /groups b"],
            UserInfo("joe", ("a", "b", "system:authenticated")),
        ),
        (
            to("system:serviceaccount:ns:bot"),
            ["impersonate /serviceaccounts bot"],
            UserInfo("system:serviceaccount:ns:bot", SYSTEM_GROUPS),
        ),
        (
            to("joe", uid="7", Scope="x"),
            [
                "impersonate /users joe",
                f"impersonate {AUTHN}/uids 7",
                f"impersonate {AUTHN}/userextras/scope x",
            ],
            UserInfo("joe", ("system:authenticated",), "7", {"scope": ("x",)}),
        ),
        (to("system:anonymous"), ["impersonate /users system:anonymous"], ANONYMOUS),
        (to("joe", "system:masters"), ["impersonate /users joe", "impersonate /groups system:masters"],
         UserInfo("joe", ("system:masters", "system:authenticated"))),
        (to("joe"), [ON_USER, f"impersonate:user-info {AUTHN}/users joe"], JOE),
        (
            to("joe", "a", "b", "c", "d"),
            [ON_USER, f"impersonate:user-info {AUTHN}/users joe", f"impersonate:user-info {AUTHN}/groups *"],
            UserInfo("joe", ("a", "b", "c", "d", "system:authenticated")),
        ),
        (
            to("system:serviceaccount:ns:bot"),
            [
                "impersonate-on:serviceaccount:list /pods",
                f"impersonate:serviceaccount {AUTHN}/serviceaccounts bot",
            ],
            UserInfo("system:serviceaccount:ns:bot", SYSTEM_GROUPS),
        ),
        (
            to("system:node:n7"),
            ["impersonate-on:arbitrary-node:list /pods", f"impersonate:arbitrary-node {AUTHN}/nodes n7"],
            UserInfo("system:node:n7", ("system:nodes", "system:authenticated")),
        ),
    ],
    ids=["nobody", "user", "groups", "service account", "uid and extra", "anonymous", "masters with the plain verb",
         "constrained user", "constrained many groups", "constrained service account", "constrained node"],
)  # fmt: skip
async def test_impersonation(headers, rights, expected: UserInfo) -> None:
    assert await impersonate(ME, headers, Granted(*rights), REQUEST) == expected


@pytest.mark.parametrize(
    ("headers", "rights", "text"),
    [
        (to("joe"), [], 'User "me" cannot impersonate-on:user-info:list resource "pods" in API group ""'),
        (
            to("joe"),
            [ON_USER],
            f'users.{AUTHN} "joe" is forbidden: User "me" cannot impersonate:user-info resource "users"',
        ),
        # What the mode allows for one verb says nothing about another.
        (to("joe"), ["impersonate-on:user-info:get /pods", f"impersonate:user-info {AUTHN}/users joe"],
         "impersonate-on:user-info:list"),
        (to("joe", "system:masters"), [ON_USER, f"impersonate:user-info {AUTHN}/users joe"],
         "impersonating the system:masters group is not allowed"),
        (to("joe", ""), [ON_USER, f"impersonate:user-info {AUTHN}/users joe"],
         "impersonating the empty string group is not allowed"),
        (to("joe", Scope="x"), [ON_USER, f"impersonate:user-info {AUTHN}/users joe"],
         "impersonating an invalid key in extra is not allowed"),
        # A node with groups of one's choice is no node for the constrained modes.
        (to("system:node:n7", "a"),
         ["impersonate-on:arbitrary-node:list /pods", f"impersonate:arbitrary-node {AUTHN}/nodes n7"],
         'cannot impersonate resource "users"'),
        # Nodes and service accounts are not for the mode of other users.
        (to("system:node:n7"), [ON_USER, f"impersonate:user-info {AUTHN}/users system:node:n7"], "arbitrary-node"),
    ],
)  # fmt: skip
async def test_impersonation_that_is_refused(headers, rights, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        await impersonate(ME, headers, Granted(*rights), REQUEST)
    assert caught.value.code == 403
    assert text in caught.value.message


async def test_agents_act_as_the_node_they_run_on() -> None:
    rights = ["impersonate-on:associated-node:list /pods", f"impersonate:associated-node {AUTHN}/nodes *"]
    granted = Granted(*rights)
    user = await impersonate(AGENT, to("system:node:n1"), granted, REQUEST)
    assert user == UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))
    keys = {"authentication.kubernetes.io/associated-node-keys": ("authentication.kubernetes.io/node-name",)}
    assert granted.extras == [keys, keys], "which node it is stays out of the question"
    with pytest.raises(ApiError):
        await impersonate(AGENT, to("system:node:n2"), Granted(*rights), REQUEST)


@pytest.mark.parametrize("headers", [to("", "a"), to("", uid="7"), to("", Scope="x")])
async def test_parts_of_nobody_are_a_bad_request(headers) -> None:
    with pytest.raises(ApiError) as caught:
        await impersonate(ME, headers, Granted(), REQUEST)
    assert caught.value.code == 400
    assert caught.value.message.endswith("without impersonating a user name")
