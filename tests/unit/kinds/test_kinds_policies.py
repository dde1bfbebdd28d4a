"""Flow schemas, priority levels and admission policies: rules that few clients meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from minikube_py.machinery.kinds.admissionregistration import validating_admission_policy
from minikube_py.machinery.kinds.admissionregistration.webhooks import client_config_errors, rule_errors
from minikube_py.machinery.kinds.common.go_url import parse_url
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


HTTPS = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
HOST = "host must be specified; desired format: https://host[/path]"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        pytest.param({"url": "https://h:443/p"}, [], id="a URL"),
        pytest.param({"url": ""}, [f'url: Invalid value: "": {HTTPS}', f'url: Invalid value: "": {HOST}'], id="none"),
        pytest.param(
            {"url": "https://u@h?q#f"},
            [
                'url: Invalid value: "u": user information is not permitted in the URL',
                'url: Invalid value: "f": fragments are not permitted in the URL',
                'url: Invalid value: "q": query parameters are not permitted in the URL',
            ],
            id="too much of a URL",
        ),
        pytest.param(
            {"url": "https://h:x"},
            [
                'url: Required value: url must be a valid URL: parse "https://h:x": invalid port ":x" after host; '
                "desired format: https://host[/path]"
            ],
            id="no URL",
        ),
        pytest.param({"service": {"name": "s"}}, ["service.name: Required value"], id="no namespace"),
        pytest.param({"service": {"namespace": "n"}}, ["service.namespace: Required value"], id="no name"),
        pytest.param({"service": {"name": "s", "namespace": "n", "path": ""}}, [], id="no path"),
        pytest.param(
            {"service": {"name": "s", "namespace": "n", "path": "//"}},
            ['service.path: Invalid value: "//": segment[0] may not be empty'],
            id="an empty step",
        ),
        pytest.param(
            {"service": {"name": "s", "namespace": "n", "path": "x"}},
            [
                "service.path: Invalid value: \"x\": must start with a '/'",
                'service.path: Invalid value: "x": segment[0] may not be empty',
            ],
            id="a path from nowhere",
        ),
    ],
)
def test_ways_to_webhooks(config: Object, wanted: list[str]) -> None:
    assert [line.removeprefix("c.") for line in told(client_config_errors("c", config))] == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("://h", 'parse "://h": missing protocol scheme'),
        ("a:b", ("a", None, "")),
        ("1a:b", 'parse "1a:b": first path segment in URL cannot contain colon'),
        ("HTTPS://u:p@h/x", ("https", "u:p", "h")),
        ("https://a b/", 'parse "https://a b/": invalid character " " in host name'),
        ("https://[::1", "parse \"https://[::1\": missing ']' in host"),
        ("https://[::1]:8/", ("https", None, "[::1]:8")),
        ("https://a b@h/", 'parse "https://a b@h/": net/url: invalid userinfo'),
        ("https://h/%zz", 'parse "https://h/%zz": invalid URL escape "%zz"'),
        ("https://h%zz/", 'parse "https://h%zz/": invalid URL escape "%zz"'),
        ("https://h/\n", 'parse "https://h/\\n": net/url: invalid control character in URL'),
        ("//h/p", ("", None, "h")),
    ],
)
def test_urls_are_taken_apart_as_in_go(text: str, wanted: Any) -> None:
    found = parse_url(text)
    assert (found if isinstance(found, str) else (found.scheme, found.user, found.host)) == wanted


def test_resources_of_rules_are_measured_at_those_before_them() -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"]}
    resources = ["pods/status", "pods/*", "pods/log", "*/status", "jobs/status", "*", "jobs"]
    assert told(rule_errors("r", {**rule, "resources": resources})) == [
        "r.resources[2]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
        "r.resources[4]: Invalid value: \"jobs/status\": if '*/status' is present, must not specify jobs/status",
        'r.resources: Invalid value: ["pods/status","pods/*","pods/log","*/status","jobs/status","*","jobs"]: '
        "if '*' is present, must not specify other resources without subresources",
    ]
