"""Every identity of the bootstrap policy x verb x resource: what may it do?

``bootstrap_rbac.json`` is what a kube-apiserver v1.36 creates (recorded). What it allows is worked out here
in the plainest way, by looking at every rule of every binding, and compared with the authorizers, which
decide by index and cache from the objects that this server creates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authorization.node import NodeAuthorizer
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.authorization.reviews import SelfSubjectRulesReviewHandler
from minikube_py.components.apiserver.authorization.rules import compile_rules
from minikube_py.components.apiserver.authorization.union import UnionAuthorizer
from minikube_py.components.apiserver.bootstrap import ensure_bootstrap
from minikube_py.components.apiserver.bootstrap.policy import bootstrap_sections, cluster_role_rules
from minikube_py.components.apiserver.types import Attributes, Decision, RequestContext, UserInfo
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import ROLE_BINDINGS, SUBJECT_ACCESS_REVIEWS

RECORDED = json.loads((Path(__file__).parent / "bootstrap_rbac.json").read_text())
bootstrap_sections()  # reads a file: here, not on the loop
VERBS = {"get": "some", "list": "", "create": "", "deletecollection": "", "impersonate": "some", "nonsense": "some"}
"""With the name that a request has: none of a collection's has one."""
NAMESPACES = ("", "kube-system", "kube-public", "default")
USER_ROLES = ("cluster-admin", "admin", "edit", "view")
PATHS = ("/healthz", "/version/", "/api", "/apis/apps", "/metrics", "/logs", "/openid/v1/jwks", "/custom")


@dataclass(frozen=True)
class Identity:
    user: UserInfo
    kind: str


def _identities() -> Iterator[Identity]:
    """One for each subject of a binding, one for each role meant for users, and nobody."""
    seen: set[tuple[str, str, str]] = set()
    for item in RECORDED:
        for subject in item.get("subjects", ()):
            key = (subject["kind"], subject.get("namespace", ""), subject["name"])
            if key in seen:
                continue
            seen.add(key)
            kind, namespace, name = key
            if kind == "ServiceAccount":
                groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
                yield Identity(UserInfo(f"system:serviceaccount:{namespace}:{name}", groups), kind)
            elif kind == "User":
                yield Identity(UserInfo(name, ("system:authenticated",)), kind)
            elif name != "system:masters":
                yield Identity(UserInfo(f"member-of-{name}", (name,)), kind)
    for role in USER_ROLES:
        yield Identity(UserInfo(f"user-{role}", ("system:authenticated",)), "role")
    yield Identity(UserInfo("nobody"), "none")


IDENTITIES = list(_identities())


@cache
def _resources() -> tuple[tuple[str, str], ...]:
    """(group, resource[/subresource]) of every rule, and one that no rule has."""
    found = {
        (group, resource)
        for item in RECORDED
        for rule in item.get("rules", ())
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        if "*" not in (group, resource)
    }
    return (*sorted(found), ("example.com", "widgets"))


def _rules_of(user: UserInfo, namespace: str) -> list[dict[str, Any]]:
    """The recorded rules that hold for a user, the bindings of the user roles (in ``default``) included."""
    roles = {(item["kind"], item.get("namespace", ""), item["name"]): item for item in RECORDED}
    bound: list[dict[str, Any]] = []
    for item in RECORDED:
        where = item.get("namespace", "")
        if not item["kind"].endswith("Binding") or where not in ("", namespace):
            continue
        if any(_is_subject(user, subject) for subject in item.get("subjects", ())):
            reference = item["roleRef"]
            scope = where if reference["kind"] == "Role" else ""
            bound += roles[reference["kind"], scope, reference["name"]].get("rules", ())
    if namespace == "default" and user.name.removeprefix("user-") in USER_ROLES:
        bound += roles["ClusterRole", "", user.name.removeprefix("user-")].get("rules", ())
    return bound


def _is_subject(user: UserInfo, subject: dict[str, str]) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    if subject["kind"] == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    return user.name == subject["name"]


def _covers(rule: dict[str, Any], verb: str, group: str, resource: str, name: str) -> bool:
    verbs, groups, resources = rule["verbs"], rule.get("apiGroups", ()), rule.get("resources", ())
    if verb not in verbs and "*" not in verbs:
        return False
    if group not in groups and "*" not in groups:
        return False
    if rule.get("resourceNames") and name not in rule["resourceNames"]:
        return False
    return resource in resources or "*" in resources or f"*/{resource.partition('/')[2]}" in resources


@cache
def _server() -> tuple[UnionAuthorizer, FakeClient]:
    client = FakeClient(FakeClock())
    rbac = RbacAuthorizer(client)
    return UnionAuthorizer([NodeAuthorizer(client, compile_rules(cluster_role_rules("system:node"))), rbac]), client


async def _authorizer() -> UnionAuthorizer:
    union, client = _server()
    if not client.all(ROLE_BINDINGS):
        await ensure_bootstrap(client)
        for role in USER_ROLES:
            client.seed(
                ROLE_BINDINGS,
                {
                    "metadata": {"name": f"user-{role}", "namespace": "default"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "User", "name": f"user-{role}"}],
                },
            )
    return union


def test_the_matrix_is_as_wide_as_the_policy() -> None:
    assert len(IDENTITIES) > 50
    assert {identity.kind for identity in IDENTITIES} == {"User", "Group", "ServiceAccount", "role", "none"}
    assert len(_resources()) > 100


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.user.name)
async def test_what_an_identity_may_do(identity: Identity) -> None:
    union, user = await _authorizer(), identity.user
    wrong: list[str] = []
    for namespace in NAMESPACES:
        rules = [rule for rule in _rules_of(user, namespace) if rule.get("resources")]
        for group, full in _resources():
            resource, _, subresource = full.partition("/")
            names = {name for rule in rules if full in rule["resources"] for name in rule.get("resourceNames", ())}
            for name in ("", "some", *names):
                relevant = [rule for rule in rules if _covers({**rule, "verbs": ["*"]}, "", group, full, name)]
                for verb in [verb for verb, usual in VERBS.items() if name in (usual, *names)]:
                    expected = any(_covers(rule, verb, group, full, name) for rule in relevant)
                    asked = Attributes(verb, "", True, group, "v1", resource, subresource, namespace, name)
                    decision, _ = await union.authorize(user, asked)
                    if (decision is Decision.ALLOW) != expected:
                        wrong.append(f"{verb} {group}/{full} {name!r} in {namespace!r}: expected {expected}")
    assert wrong == []


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.user.name)
async def test_which_paths_an_identity_may_ask_for(identity: Identity) -> None:
    union, user = await _authorizer(), identity.user
    rules = [rule for rule in _rules_of(user, "") if rule.get("nonResourceURLs")]
    for path in PATHS:
        for verb in ("get", "post"):
            expected = any(
                (verb in rule["verbs"] or "*" in rule["verbs"])
                and any(url in ("*", path) or (url[-1] == "*" and path.startswith(url[:-1])) for url in urls)
                for rule in rules
                for urls in [rule["nonResourceURLs"]]
            )
            decision, _ = await union.authorize(user, Attributes(verb, path))
            assert (decision is Decision.ALLOW) == expected, (verb, path)


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.user.name)
async def test_the_rules_review_lists_what_the_policy_grants(identity: Identity) -> None:
    """``kubectl auth can-i --list``: every rule, and nothing else."""
    handler = SelfSubjectRulesReviewHandler(await _authorizer())
    kind = Kind(SUBJECT_ACCESS_REVIEWS, "x", "x")
    body = {"spec": {"namespace": "default"}}
    status = (await handler.create(RequestContext(identity.user), kind, "", "", body))["status"]
    rules = _rules_of(identity.user, "default")
    fields = ("verbs", "apiGroups", "resources", "resourceNames")
    expected = [{key: rule[key] for key in fields if rule.get(key)} for rule in rules if rule.get("resources")]
    assert _sorted(status["resourceRules"]) == _sorted(expected)
    urls = [{key: rule[key] for key in ("verbs", "nonResourceURLs")} for rule in rules if rule.get("nonResourceURLs")]
    assert _sorted(status["nonResourceRules"]) == _sorted(urls)
    assert status["incomplete"] is False


def _sorted(rules: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps({key: sorted(values) for key, values in rule.items()}, sort_keys=True) for rule in rules)
