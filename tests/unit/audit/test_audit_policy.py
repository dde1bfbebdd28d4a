"""Which level the first matching rule gives, and how a wrong policy is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from minikube_py.components.apiserver.audit.events import Record, event
from minikube_py.components.apiserver.audit.policy import Level, Policy, read_policy
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import Attributes, UserInfo

ALICE = UserInfo("alice", ("dev", "system:authenticated"))


def policy(tmp_path: Path, rules: str, head: str = "") -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\n{head}\nrules:\n{rules}\n")
    return read_policy(path)


def pods(verb: str = "get", **options: str) -> Attributes:
    fields = {"group": "", "version": "v1", "resource": "pods", "namespace": "default", "name": "p", **options}
    return Attributes(verb, "/x", resource_request=True, **fields)


@pytest.mark.parametrize(
    ("rule", "attributes", "matches"),
    [
        ("- level: Metadata", pods(), True),
        ("- {level: Metadata, users: [alice]}", pods(), True),
        ("- {level: Metadata, users: [bob]}", pods(), False),
        ("- {level: Metadata, userGroups: [x, dev]}", pods(), True),
        ("- {level: Metadata, userGroups: [x]}", pods(), False),
        ("- {level: Metadata, verbs: [list]}", pods(), False),
        ("- {level: Metadata, namespaces: [default]}", pods(), True),
        ("- {level: Metadata, namespaces: ['']}", pods(), False),
        ("- {level: Metadata, namespaces: ['']}", pods(resource="nodes", namespace=""), True),
        ("- {level: Metadata, resources: [{group: ''}]}", pods(), True),
        ("- {level: Metadata, resources: [{group: apps}]}", pods(), False),
        ("- {level: Metadata, resources: [{group: '', resources: [pods]}]}", pods(), True),
        ("- {level: Metadata, resources: [{group: '', resources: [pods]}]}", pods(subresource="log"), False),
        ("- {level: Metadata, resources: [{group: '', resources: [pods/log]}]}", pods(subresource="log"), True),
        ("- {level: Metadata, resources: [{group: '', resources: [pods/*]}]}", pods(subresource="log"), True),
        ("- {level: Metadata, resources: [{group: '', resources: ['*/log']}]}", pods(subresource="log"), True),
        ("- {level: Metadata, resources: [{group: '', resources: ['*/status']}]}", pods(subresource="log"), False),
        ("- {level: Metadata, resources: [{group: '', resources: ['*']}]}", pods(subresource="log"), True),
        ("- {level: Metadata, resources: [{group: '', resources: [pods], resourceNames: [q]}]}", pods(), False),
        ("- {level: Metadata, resources: [{group: '', resources: [pods], resourceNames: [p]}]}", pods(), True),
        ("- {level: Metadata, nonResourceURLs: [/healthz*]}", Attributes("get", "/healthz/etcd"), True),
        ("- {level: Metadata, nonResourceURLs: [/healthz]}", Attributes("get", "/healthz/etcd"), False),
        ("- {level: Metadata, nonResourceURLs: [/healthz*]}", pods(), False),
        ("- {level: Metadata, resources: [{group: ''}]}", Attributes("get", "/healthz"), False),
    ],
)
def test_rules(tmp_path: Path, rule: str, attributes: Attributes, matches: bool) -> None:
    decision = policy(tmp_path, rule).decide(ALICE, attributes)
    assert decision.level is (Level.METADATA if matches else Level.NONE)


def test_the_first_rule_wins_and_stages_add_up(tmp_path: Path) -> None:
    found = policy(
        tmp_path,
        "- {level: None, verbs: [list]}\n- {level: Request, omitStages: [Panic], omitManagedFields: false}",
        "omitStages: [RequestReceived]\nomitManagedFields: true",
    )
    assert found.decide(ALICE, pods("list")).level is Level.NONE
    decision = found.decide(ALICE, pods())
    assert decision.level is Level.REQUEST
    assert decision.omit_stages == {"RequestReceived", "Panic"}
    assert not decision.omit_managed_fields


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ("- {level: Everything}", "rules[0].level: must be one of None, Metadata, Request, RequestResponse"),
        ("- {level: Metadata, nonResourceURLs: [healthz]}", "must start with /"),
        ("- {level: Metadata, nonResourceURLs: [/a], resources: [{group: ''}]}", "cannot apply to both"),
        ("- {level: Metadata, resources: [{group: apps/v1}]}", "without its version"),
        ("- {level: Metadata, resources: [{group: '', resourceNames: [a]}]}", "needs at least one resource"),
        ("- {level: Metadata, omitStages: [Never]}", "'Never' is not one of"),
        ("- {level: Metadata, user: [a]}", 'unknown field "rules[0].user"'),
        ("  []", "at least one rule is needed"),
    ],
)
def test_a_wrong_policy_is_named(tmp_path: Path, rules: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        policy(tmp_path, rules)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_patches_of_webhooks_are_shown_where_bodies_are(tmp_path: Path) -> None:
    told = {"patch.webhook.admission.k8s.io/round_0_index_0": "{}", "mutation.webhook.admission.k8s.io/x": "{}"}
    for level, shown in (("Metadata", 1), ("Request", 2), ("RequestResponse", 2)):
        decision = policy(tmp_path, f"- level: {level}").decide(ALICE, pods())
        record = Record(
            decision=decision, audit_id="a", uri="/x", user=ALICE, attributes=pods(), sources=(), user_agent="",
            received=0.0, annotations=dict(told),
        )  # fmt: skip
        made = event(record, "ResponseComplete", 1.0, code=200)
        assert made is not None
        assert len(made["annotations"]) == shown
