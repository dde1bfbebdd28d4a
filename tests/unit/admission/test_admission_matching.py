"""Which requests rules and selectors mean, and under which identity a webhook is called."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.apiserver.admission.matching import match_rules, read_criteria
from minikube_py.components.apiserver.admission.policies.applying import CannotApply, apply_configuration
from minikube_py.components.apiserver.admission.subjects import ServedKinds, Subject
from minikube_py.components.apiserver.admission.webhooks.credentials import WebhookCredentials, WebhookUser
from minikube_py.components.apiserver.admission.webhooks.hooks import Address, ServiceReference
from minikube_py.components.apiserver.admission.webhooks.status_texts import AnsweredWithError, answered_with
from minikube_py.components.apiserver.admission.webhooks.transport import destination
from minikube_py.components.apiserver.registry.kinds import Kinds, schema_of
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, UserInfo
from minikube_py.machinery.kinds import builtin_kinds

KINDS = Kinds(builtin_kinds())
SERVED = ServedKinds(KINDS)


def subject(
    group: str = "", version: str = "v1", plural: str = "pods", subresource: str = "", *, namespace: str = "ns",
    name: str = "x", operation: Operation = Operation.CREATE,
) -> Subject:  # fmt: skip
    kind = KINDS.get(group, version, plural)
    assert kind is not None
    user = UserInfo("alice")
    return Subject(AdmissionRequest(operation, kind, subresource, namespace, name, user, {}, None, {}), SERVED)


def criteria(match_policy: str = "Equivalent", exclude: dict[str, Any] | None = None, **rule: Any) -> Any:
    full = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], **rule}
    raw = {"resourceRules": [full], "matchPolicy": match_policy}
    if exclude is not None:
        raw["excludeResourceRules"] = [{**full, **exclude}]
    return read_criteria(raw, rules="resourceRules", any_resource=True)


NAMESPACE = {"plural": "namespaces", "namespace": ""}
NODE = {"plural": "nodes", "namespace": ""}
MATCHES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"operations": ["UPDATE"]}, {}, False),
    ({"operations": ["UPDATE"]}, {"operation": Operation.UPDATE}, True),
    ({"apiGroups": ["apps"]}, {}, False),
    ({"apiVersions": ["v2"]}, {}, False),
    ({"resources": ["pods"]}, {}, True),
    ({"resources": ["pods"]}, {"subresource": "status"}, False),
    ({"resources": ["*"]}, {"subresource": "status"}, False),
    ({"resources": ["*/*"]}, {"subresource": "status"}, True),
    ({"resources": ["*/*"]}, {}, True),
    ({"resources": ["pods/*"]}, {"subresource": "exec"}, True),
    ({"resources": ["*/status"]}, {"subresource": "status"}, True),
    ({"resources": ["pods/status"]}, {}, False),
    ({"scope": "Namespaced"}, {}, True),
    ({"scope": "Cluster"}, {}, False),
    ({"scope": "Cluster"}, NODE, True),
    ({"scope": "Namespaced"}, NODE, False),
    ({"scope": "Cluster"}, NAMESPACE, True),
    ({"scope": "Namespaced"}, NAMESPACE, False),
    ({"resourceNames": ["x", "y"]}, {}, True),
    ({"resourceNames": ["z"]}, {}, False),
    ({"exclude": {"resources": ["pods"]}}, {}, False),
    ({"exclude": {"resources": ["nodes"]}}, {}, True),
]


@pytest.mark.parametrize(("rule", "asked", "matches"), MATCHES)
def test_rules(rule: dict[str, Any], asked: dict[str, Any], matches: bool) -> None:
    asked = {"group": "", **asked}
    assert (match_rules(subject(**asked), criteria(**rule)) is not None) is matches


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({"apiGroups": ["autoscaling"], "apiVersions": ["v1"]}, "autoscaling/v1"),
        ({"apiGroups": ["autoscaling"], "apiVersions": ["v1", "v2"]}, "autoscaling/v2"),
        ({"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "match_policy": "Exact"}, None),
    ],
)
def test_equivalent_versions(rule: dict[str, Any], seen: str | None) -> None:
    asked = subject("autoscaling", "v2", "horizontalpodautoscalers")
    found = match_rules(asked, criteria(resources=["horizontalpodautoscalers"], **rule))
    assert (None if found is None else f"{found.group}/{found.version}") == seen


def test_events_are_equivalent_in_both_groups() -> None:
    found = match_rules(subject("events.k8s.io", "v1", "events"), criteria(apiGroups=[""], resources=["events"]))
    assert found is not None and (found.group, found.type.kind) == ("", "Event")


def test_without_rules_a_binding_means_everything_and_a_webhook_nothing() -> None:
    assert match_rules(subject(), read_criteria({}, rules="resourceRules", any_resource=True)) is not None
    assert match_rules(subject(), read_criteria({}, rules="rules", any_resource=False)) is None


def test_a_namespace_is_in_itself() -> None:
    assert subject(plural="namespaces", namespace="", name="me").namespace == "me"


@pytest.mark.parametrize(
    ("host_port", "token"),
    [
        ("hook.ns.svc:443", "exact"),
        ("other.ns.svc:443", "wild"),
        ("other.ns.svc:8443", "star"),
        ("example.com:8443", "port"),
        ("example.com:443", "star"),
    ],
)
def test_the_user_for_a_webhook(host_port: str, token: str) -> None:
    names = {"hook.ns.svc": "exact", "*.ns.svc": "wild", "example.com:8443": "port", "*": "star"}
    credentials = WebhookCredentials({name: WebhookUser(token=value) for name, value in names.items()})
    assert credentials.user_for(host_port).token == token


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (Address("https://a.example/x", None, b""), ("https://a.example/x", "a.example:443")),
        (Address("https://a.example:8443", None, b""), ("https://a.example:8443", "a.example:8443")),
        (Address("", ServiceReference("ns", "s", 443, ""), b""), ("https://s.ns.svc:443/", "s.ns.svc:443")),
        (Address("", ServiceReference("ns", "s", 1, "/p"), b""), ("https://s.ns.svc:1/p", "s.ns.svc:1")),
    ],
)
def test_where_a_webhook_is(address: Address, found: tuple[str, str]) -> None:
    assert destination(address) == found


@pytest.mark.parametrize(
    ("code", "content_type", "body", "text"),
    [
        (404, "text/plain", b"nope", "the server could not find the requested resource"),
        (403, "text/plain", b"go away", "go away"),
        (500, "application/json", b"{}",
         'an error on the server ("unknown") has prevented the request from succeeding'),
        (418, "text/plain", b"x", "the server responded with the status code 418 but did not return more information"),
        (200, "application/json", b'{"kind":"Status","status":"Failure","message":"m"}', "m"),
    ],
)  # fmt: skip
def test_answers_that_are_no_review(code: int, content_type: str, body: bytes, text: str) -> None:
    with pytest.raises(AnsweredWithError) as caught:
        answered_with(code, content_type, body)
    assert str(caught.value) == text


def test_an_apply_configuration_names_atomic_parts_and_wrong_types() -> None:
    kind = KINDS.get("", "v1", "services")
    assert kind is not None
    live = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}}}
    assert apply_configuration(schema_of(kind), live, {"spec": {"type": "NodePort"}})["spec"] == {
        "selector": {"a": "b"},
        "type": "NodePort",
    }
    with pytest.raises(CannotApply, match=r"may not mutate atomic arrays, maps or structs: \.spec\.selector"):
        apply_configuration(schema_of(kind), live, {"spec": {"selector": {"x": "y"}}})
    with pytest.raises(CannotApply, match="failed to convert patch object to typed object"):
        apply_configuration(schema_of(kind), live, {"spec": {"nope": 1}})
    assert "type" not in live["spec"]
