"""Webhook authorizers: what is asked, what the answers mean, what is remembered, and what failures do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from minikube_py.client.kubeconfig import Connection
from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authorization.chain import AuthorizerChain
from minikube_py.components.apiserver.authorization.configuration import (
    WebhookFlags,
    WebhookSettings,
    configuration_from_flags,
    read_authorization_configuration,
)
from minikube_py.components.apiserver.authorization.match_conditions import MatchCondition, compile_match_condition
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.authorization.reviews import (
    SelfSubjectRulesReviewHandler,
    SubjectAccessReviewHandler,
    attributes_of,
)
from minikube_py.components.apiserver.authorization.union import (
    AlwaysAllow,
    AlwaysDeny,
    AuthorizerError,
    UnionAuthorizer,
)
from minikube_py.components.apiserver.authorization.webhook import WebhookAuthorizer, review_spec
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import Attributes, Decision, RequestContext, UserInfo
from minikube_py.components.apiserver.webhook_client import WebhookError
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import SUBJECT_ACCESS_REVIEWS

JOE = UserInfo("joe", ("devs", "system:authenticated"), "7", {"scope": ("a",)})
LIST_PODS = Attributes(
    "list", "/api/v1/namespaces/ns/pods", True, "", "v1", "pods", "", "ns",
    label_selector="app in (a,b),!gone", field_selector="spec.nodeName=n1,status.phase!=Failed",
)  # fmt: skip
REVIEW = Kind(SUBJECT_ACCESS_REVIEWS, "subjectaccessreview", "x")
NOWHERE = Connection("https://nowhere")


class Service:
    """Answers with the statuses given, the last one for ever; an exception is raised."""

    def __init__(self, *statuses: Any) -> None:
        self.statuses = list(statuses)
        self.questions: list[dict[str, Any]] = []
        self.closed = False

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self.questions.append(question)
        await asyncio.sleep(0)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return {"status": status}

    async def close(self) -> None:
        self.closed = True


def authorizer(service: Service, clock: FakeClock | None = None, **settings: Any) -> WebhookAuthorizer:
    return WebhookAuthorizer("w", WebhookSettings(connection=NOWHERE, **settings), service, clock or FakeClock())


def condition(text: str) -> MatchCondition:
    errors: list[Any] = []
    found = compile_match_condition(text, "expression", errors)
    assert found is not None, errors
    return found


async def test_the_question_says_everything_about_the_request() -> None:
    service = Service({"allowed": True, "reason": "fine"})
    assert await authorizer(service).authorize(JOE, LIST_PODS) == (Decision.ALLOW, "fine")
    assert service.questions == [
        {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": {
                "user": "joe",
                "groups": ["devs", "system:authenticated"],
                "uid": "7",
                "extra": {"scope": ["a"]},
                "resourceAttributes": {
                    "namespace": "ns",
                    "verb": "list",
                    "version": "v1",
                    "resource": "pods",
                    "fieldSelector": {
                        "requirements": [
                            {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
                            {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
                        ]
                    },
                    "labelSelector": {
                        "requirements": [
                            {"key": "app", "operator": "In", "values": ["a", "b"]},
                            {"key": "gone", "operator": "DoesNotExist"},
                        ]
                    },
                },
            },
        }
    ]


def test_v1beta1_has_its_own_name_for_groups() -> None:
    spec = review_spec(JOE, Attributes("get", "/healthz"), "v1beta1")
    assert spec["group"] == ["devs", "system:authenticated"]
    assert "groups" not in spec
    assert spec["nonResourceAttributes"] == {"path": "/healthz", "verb": "get"}


@pytest.mark.parametrize(
    ("status", "decision"),
    [
        ({"allowed": True}, Decision.ALLOW),
        ({"allowed": False}, Decision.NO_OPINION),
        ({"allowed": False, "denied": True}, Decision.DENY),
        ({}, Decision.NO_OPINION),
    ],
)
async def test_answers(status: dict[str, Any], decision: Decision) -> None:
    assert (await authorizer(Service(status)).authorize(JOE, LIST_PODS))[0] is decision


@pytest.mark.parametrize(
    "status",
    [
        WebhookError("no answer within 3 seconds"),
        {"allowed": "yes"},
        {"allowed": 1},
        {"allowed": True, "reason": {"a": 1}},
        {"allowed": True, "denied": True},
    ],
    ids=["hangs", "text", "number", "reason is no text", "yes and no"],
)
@pytest.mark.parametrize("deny", [False, True])
async def test_failures_and_lies_never_allow(status: Any, deny: bool) -> None:
    webhook = authorizer(Service(status), deny_on_failure=deny)
    with pytest.raises(AuthorizerError) as caught:
        await webhook.authorize(JOE, LIST_PODS)
    contradiction = isinstance(status, dict) and status.get("denied")
    assert caught.value.decision is (Decision.DENY if deny or contradiction else Decision.NO_OPINION)


async def test_the_next_authorizer_is_asked_unless_the_policy_denies() -> None:
    broken = WebhookError("away")
    union = UnionAuthorizer([authorizer(Service(broken)), AlwaysAllow()])
    assert (await union.authorize(JOE, LIST_PODS))[0] is Decision.ALLOW
    for chain in (
        [authorizer(Service(broken), deny_on_failure=True), AlwaysAllow()],
        [authorizer(Service(broken)), AlwaysDeny()],
    ):
        with pytest.raises(ApiError) as caught:
            await UnionAuthorizer(chain).authorize(JOE, LIST_PODS)
        assert caught.value.code == 500
        assert caught.value.message == 'Internal Server Error: "/api/v1/namespaces/ns/pods": away'


async def test_a_review_tells_the_failure() -> None:
    union = UnionAuthorizer([authorizer(Service(WebhookError("away")), deny_on_failure=True)])
    spec = {"user": "joe", "resourceAttributes": {"verb": "list", "resource": "pods"}}
    answer = await SubjectAccessReviewHandler(union).create(
        RequestContext(JOE), REVIEW, "", "", {"metadata": {}, "spec": spec}
    )
    assert answer["status"] == {"allowed": False, "denied": True, "evaluationError": "away"}


async def test_masters_are_never_asked_about() -> None:
    service = Service({"denied": True})
    union = UnionAuthorizer([authorizer(service)])
    assert (await union.authorize(UserInfo("root", ("system:masters",)), LIST_PODS))[0] is Decision.ALLOW
    assert service.questions == []


async def test_answers_are_remembered_apart() -> None:
    clock = FakeClock()
    service = Service({"allowed": True})
    webhook = authorizer(service, clock, authorized_ttl_seconds=300, unauthorized_ttl_seconds=30)
    await asyncio.gather(*(webhook.authorize(JOE, LIST_PODS) for _ in range(10)))
    clock.jump(299)
    await webhook.authorize(JOE, LIST_PODS)
    assert len(service.questions) == 1
    clock.jump(2)
    service.statuses = [{"allowed": False}]
    assert (await webhook.authorize(JOE, LIST_PODS))[0] is Decision.NO_OPINION
    clock.jump(29)
    await webhook.authorize(JOE, LIST_PODS)
    assert len(service.questions) == 2
    clock.jump(2)
    await webhook.authorize(JOE, LIST_PODS)
    assert len(service.questions) == 3


async def test_other_identities_and_requests_are_asked_anew() -> None:
    service = Service({"allowed": True})
    webhook = authorizer(service)
    await webhook.authorize(JOE, LIST_PODS)
    await webhook.authorize(UserInfo("joe", JOE.groups, "7", {"scope": ("b",)}), LIST_PODS)
    await webhook.authorize(UserInfo("joe", ("devs",), "7", {"scope": ("a",)}), LIST_PODS)
    await webhook.authorize(JOE, Attributes("list", "/api/v1/namespaces/ns/pods", True, "", "v1", "pods", "", "ns"))
    assert len(service.questions) == 4


async def test_failures_and_overlong_questions_are_not_remembered() -> None:
    service = Service(WebhookError("away"), {"allowed": True})
    webhook = authorizer(service)
    with pytest.raises(AuthorizerError):
        await webhook.authorize(JOE, LIST_PODS)
    assert (await webhook.authorize(JOE, LIST_PODS))[0] is Decision.ALLOW
    service.questions.clear()
    long = Attributes("get", "/" + "x" * 20_000)
    for _ in range(2):
        await webhook.authorize(JOE, long)
    assert len(service.questions) == 2


@pytest.mark.parametrize(
    ("texts", "asked", "fails"),
    [
        (["has(request.resourceAttributes)", "request.resourceAttributes.namespace == 'ns'"], True, False),
        (["!('devs' in request.groups)"], False, False),
        (["has(request.nonResourceAttributes)"], False, False),
        (["request.resourceAttributes.fieldSelector.requirements.exists(r, r.key == 'spec.nodeName')"], True, False),
        (["request.extra['missing'][0] == 'x'"], False, True),
        (["request.extra['missing'][0] == 'x'", "request.user == 'other'"], False, False),
    ],
    ids=["all hold", "one does not", "kind of request", "selector", "cannot be evaluated", "false beside a failure"],
)
async def test_match_conditions(texts: list[str], asked: bool, fails: bool) -> None:
    service = Service({"allowed": True})
    webhook = authorizer(service, match_conditions=tuple(map(condition, texts)), deny_on_failure=True)
    if fails:
        with pytest.raises(AuthorizerError) as caught:
            await webhook.authorize(JOE, LIST_PODS)
        assert caught.value.decision is Decision.DENY
    else:
        assert (await webhook.authorize(JOE, LIST_PODS))[0] is (Decision.ALLOW if asked else Decision.NO_OPINION)
    assert bool(service.questions) is asked


def kubeconfig(folder: Path, server: str = "https://127.0.0.1:1/authorize") -> Path:
    path = folder / "kubeconfig.yaml"
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def webhook_entry(folder: Path, **fields: Any) -> dict[str, Any]:
    base = {
        "timeout": "3s",
        "authorizedTTL": "1m",
        "unauthorizedTTL": "10s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(folder / "kubeconfig.yaml")},
        "matchConditions": [{"expression": "request.user != 'root'"}],
    }
    return {"type": "Webhook", "name": "a", "webhook": {**base, **fields}}


def written(folder: Path, *authorizers: Any) -> Path:
    kubeconfig(folder)
    path = folder / "authorization.yaml"
    version = "apiserver.config.k8s.io/v1"
    body = {"apiVersion": version, "kind": "AuthorizationConfiguration", "authorizers": list(authorizers)}
    path.write_text(yaml.safe_dump(body))
    return path


def test_a_configuration_with_several_webhooks(tmp_path: Path) -> None:
    second = {**webhook_entry(tmp_path, failurePolicy="NoOpinion", cacheAuthorizedRequests=False), "name": "b"}
    chain = [webhook_entry(tmp_path), {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}, second]
    found = read_authorization_configuration(written(tmp_path, *chain)).authorizers
    assert [item.mode for item in found] == ["Webhook", "Node", "RBAC", "Webhook"]
    one, two = found[0].webhook, found[3].webhook
    assert one is not None
    assert two is not None
    assert (one.timeout_seconds, one.authorized_ttl_seconds, one.unauthorized_ttl_seconds) == (3.0, 60.0, 10.0)
    assert (one.deny_on_failure, two.deny_on_failure, two.authorized_ttl_seconds) == (True, False, 0.0)
    assert [item.text for item in one.match_conditions] == ["request.user != 'root'"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"timeout": None}, "authorizers[0].webhook.timeout: Required value"),
        ({"timeout": "31s"}, 'webhook.timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        ({"timeout": "soon"}, "webhook.timeout: must be a duration"),
        ({"subjectAccessReviewVersion": "v2"}, 'Unsupported value: "v2": supported values: "v1", "v1beta1"'),
        ({"failurePolicy": "Allow"}, 'failurePolicy: Unsupported value: "Allow"'),
        ({"matchConditionSubjectAccessReviewVersion": None}, "required if match conditions are specified"),
        ({"matchConditions": [{"expression": " "}]}, "matchConditions[0].expression: Required value"),
        ({"matchConditions": [{"expression": "request.nobody"}]}, "undefined field 'nobody'"),
        ({"matchConditions": [{"expression": "request.user"}]}, "must evaluate to bool"),
        ({"connectionInfo": {"type": "InCluster"}}, 'connectionInfo.type: Unsupported value: "InCluster"'),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "relative"}}, "must be an absolute path"),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/no/file"}}, "error loading file"),
        ({"unknown": 1}, 'unknown field "authorizers[0].webhook.unknown"'),
    ],
)
def test_webhooks_that_are_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_authorization_configuration(written(tmp_path, webhook_entry(tmp_path, **change)))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("authorizers", "text"),
    [
        ([], "at least one authorization mode must be defined"),
        ([{"type": "ABAC", "name": "x"}], 'authorizers[0].type: Unsupported value: "ABAC"'),
        ([{"type": "RBAC", "name": "x"}, {"type": "RBAC", "name": "y"}], 'type: Duplicate value: "RBAC"'),
        ([{"type": "RBAC", "name": "x"}, {"type": "Node", "name": "x"}], 'name: Duplicate value: "x"'),
        ([{"type": "RBAC", "name": "X!"}], "authorizer name is invalid"),
        ([{"type": "RBAC"}], "authorizers[0].name: Required value"),
        ([{"type": "Webhook", "name": "x"}], "required when type=Webhook"),
    ],
)
def test_chains_that_are_refused(tmp_path: Path, authorizers: list[Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_authorization_configuration(written(tmp_path, *authorizers))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("modes", "flags", "text"),
    [
        (("RBAC", "Webhook"), {}, "need each other"),
        (("RBAC",), {"config_file": "x"}, "need each other"),
        (("RBAC", "RBAC"), {}, "more than once"),
        (("ABAC",), {}, "unknown"),
    ],
)
def test_flags_that_are_refused(modes: tuple[str, ...], flags: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        configuration_from_flags(modes, WebhookFlags(**flags))


async def test_a_chain_is_replaced_while_requests_come(tmp_path: Path) -> None:
    clock = FakeClock()
    client = FakeClient(clock)
    deny = configuration_from_flags(("AlwaysDeny",), WebhookFlags())
    chain = AuthorizerChain(client, RbacAuthorizer(client), clock, deny)
    assert (await chain.union.authorize(JOE, LIST_PODS))[0] is Decision.NO_OPINION
    path = written(tmp_path, {"type": "RBAC", "name": "rbac"}, {"type": "AlwaysAllow", "name": "all"})
    await chain.apply(await asyncio.to_thread(read_authorization_configuration, path))
    assert (await chain.union.authorize(JOE, LIST_PODS))[0] is Decision.ALLOW
    assert (chain.has("RBAC"), chain.has("AlwaysDeny")) == (True, False)


async def test_rules_of_a_chain_with_a_webhook_are_incomplete() -> None:
    client = FakeClient(FakeClock())
    union = UnionAuthorizer([RbacAuthorizer(client), authorizer(Service({"allowed": True})), AlwaysAllow()])
    handler = SelfSubjectRulesReviewHandler(union)
    answer = await handler.create(RequestContext(JOE), REVIEW, "", "", {"spec": {"namespace": "ns"}})
    assert answer["status"] == {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": True,
        "evaluationError": "webhook authorizer does not support user rule resolution",
    }


@pytest.mark.parametrize(
    ("selectors", "labels", "fields"),
    [
        ({"fieldSelector": {"rawSelector": "a=b"}}, "", "a=b"),
        (
            {"fieldSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b,c"]},
                                                {"key": "d", "operator": "NotIn", "values": ["e"]},
                                                {"key": "f", "operator": "In", "values": ["g", "h"]}]}},
            "", "a=b\\,c,d!=e",
        ),
        (
            {"labelSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b", "c"]},
                                                {"key": "d", "operator": "Exists"},
                                                {"key": "e", "operator": "DoesNotExist"},
                                                {"key": "f", "operator": "Gt", "values": ["1"]},
                                                {"key": "g!", "operator": "Exists"}]}},
            "a in (b,c),d,!e", "",
        ),
    ],
)  # fmt: skip
def test_selectors_of_reviews(selectors: dict[str, Any], labels: str, fields: str) -> None:
    found = attributes_of({"resourceAttributes": {"verb": "list", "resource": "pods", **selectors}})
    assert (found.label_selector, found.field_selector) == (labels, fields)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, "spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes."),
        ({"rawSelector": "a", "requirements": [{"key": "a"}]}, "may not specified at the same time as requirements"),
        ({"requirements": [{"operator": "Exists"}]}, 'requirements[0].key: Invalid value: "": name part must be non-'),
        ({"requirements": [{"key": "a", "operator": "In"}]}, "must be specified when `operator` is 'In' or 'NotIn'"),
        (
            {"requirements": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
    ],
)
async def test_selectors_of_reviews_that_are_refused(selector: dict[str, Any], text: str) -> None:
    spec = {"user": "x", "resourceAttributes": {"verb": "list", "resource": "pods", "labelSelector": selector}}
    with pytest.raises(ApiError) as caught:
        await SubjectAccessReviewHandler(AlwaysAllow()).create(
            RequestContext(JOE), REVIEW, "", "", {"metadata": {}, "spec": spec}
        )
    assert text in caught.value.message
