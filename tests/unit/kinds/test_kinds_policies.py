"""Flow schemas, priority levels and admission policies: rules that few clients meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from minikube_py.machinery.kinds.admissionregistration import validating_admission_policy
from minikube_py.machinery.kinds.flowcontrol import flow_schema, priority_level_configuration
from minikube_py.machinery.kinds.rbac import role
from minikube_py.machinery.objects import Object

USER = {"kind": "User", "user": {"name": "u"}}
PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]}


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def flow(**rule: Any) -> Object:
    spec = {
        "matchingPrecedence": 10,
        "priorityLevelConfiguration": {"name": "p"},
        "rules": [{"subjects": [USER], "resourceRules": [PODS], **rule}],
    }
    return {"metadata": {"name": "f"}, "spec": spec}


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(flow(), [], id="valid"),
        pytest.param(
            flow(subjects=[{**USER, "group": {"name": "g"}}]),
            ["spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"],
            id="two-subjects",
        ),
        pytest.param(
            flow(nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["healthz", "/a*"]}]),
            [
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "healthz": must start with slash',
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a*": wildcard can only do '
                "suffix matching",
            ],
            id="urls",
        ),
        pytest.param(
            flow(resourceRules=[{**PODS, "verbs": ["look"]}]),
            [
                'spec.rules[0].resourceRules[0].verbs: Unsupported value: ["look"]: supported values: "create", '
                '"delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"'
            ],
            id="verbs",
        ),
    ],
)
def test_flow_schemas(made: Object, wanted: list[str]) -> None:
    assert told(flow_schema.KIND.validate(made)) == wanted


def test_only_exempt_is_exempt() -> None:
    made = {"metadata": {"name": "x"}, "spec": {"type": "Exempt"}}
    assert told(priority_level_configuration.KIND.validate(made)) == [
        "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"
    ]


def policy(**spec: Any) -> Object:
    rule: Mapping[str, Any] = {
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]
    }  # fmt: skip
    made = {
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [dict(rule)]},
            "validations": [{"expression": "true"}],
            **spec,
        },
    }
    validating_admission_policy.KIND.default(made)
    return made


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(policy(), [], id="valid"),
        pytest.param(
            policy(variables=[{"name": "in", "expression": "1"}]),
            ['spec.variables[0].name: Invalid value: "in": must be a valid CEL identifier'],
            id="reserved-variable",
        ),
        pytest.param(
            policy(paramKind={"apiVersion": "g.io/", "kind": "K"}),
            ['spec.paramKind.apiVersion: Invalid value: "g.io/": version must be specified'],
            id="parameter-version",
        ),
        pytest.param(
            policy(validations=[{"expression": "true", "message": "a\nb", "reason": "NotFound"}]),
            [
                'spec.validations[0].message: Invalid value: "a\\nb": must not contain line breaks',
                'spec.validations[0].reason: Unsupported value: "NotFound": supported values: "Forbidden", "Invalid", '
                '"RequestEntityTooLarge"',
            ],
            id="message",
        ),
    ],
)
def test_admission_policies(made: Object, wanted: list[str]) -> None:
    assert told(validating_admission_policy.KIND.validate(made)) == wanted


def test_an_audit_key_follows_the_name_of_its_policy() -> None:
    made = policy(auditAnnotations=[{"key": "a/b", "valueExpression": "'x'"}])
    [error] = told(validating_admission_policy.KIND.validate(made))
    assert error.startswith('spec.auditAnnotations[0].key: Invalid value: "p/a/b": a valid label key must consist of ')


def test_warnings_of_a_policy_say_of_what() -> None:
    made = policy()
    made["status"] = {"typeChecking": {"expressionWarnings": [{"fieldRef": "spec.validations[0].expression"}]}}
    judge = validating_admission_policy.KIND.validate_status
    assert judge is not None
    assert told(judge(made, policy())) == ["status.typeChecking.expressionWarnings[0].warning: Required value"]


def test_an_empty_list_is_its_senders_until_it_is_stored() -> None:
    draft: Object = {"kind": "Role", "metadata": {"name": "r"}, "rules": []}
    role.KIND.default(draft)
    assert draft["rules"] == []
    role.KIND.prepare_create(draft)
    assert draft["rules"] is None
