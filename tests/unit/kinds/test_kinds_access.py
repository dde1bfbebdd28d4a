"""Roles, certificate requests, flow control's fixed objects, API services: rules of who may do what."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minikube_py.components.apiserver.http import views
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.admissionregistration import validating_admission_policy, webhooks
from minikube_py.machinery.kinds.apiregistration import api_service
from minikube_py.machinery.kinds.authorization import reviews
from minikube_py.machinery.kinds.certificates.certificate_signing_request import KIND as REQUEST
from minikube_py.machinery.kinds.certificates.certificate_signing_request import certificate_problem
from minikube_py.machinery.kinds.common.condition_validation import condition_errors
from minikube_py.machinery.kinds.flowcontrol import flow_schema, priority_level_configuration
from minikube_py.machinery.kinds.flowcontrol.mandatory import level_errors
from minikube_py.machinery.kinds.rbac import cluster_role, role, role_binding
from minikube_py.machinery.objects import Object, thaw


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def test_roles_are_checked_twice_when_they_change() -> None:
    made = {"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "resources": ["pods"]}]}
    once = ["rules[0].apiGroups: Required value: resource rules must supply at least one api group"]
    assert told(role.KIND.validate(made)) == once
    assert told(role.KIND.validate_update(made, made)) == once * 2
    assert told(cluster_role.KIND.validate_update(made, made)) == once * 2


def test_a_binding_tells_the_change_of_its_role_last() -> None:
    old = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}}
    new = {"roleRef": {**old["roleRef"], "kind": "Rule"}}
    kind = 'roleRef.kind: Unsupported value: "Rule": supported values: "Role", "ClusterRole"'
    changed = (
        'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Rule","Name":"r"}: '
        "cannot change roleRef"
    )
    assert told(role_binding.KIND.validate_update(new, old)) == [kind, kind, changed]


def test_a_selector_that_is_none() -> None:
    selector = {"matchExpressions": [{"key": "a", "operator": "Like"}]}
    made = {"metadata": {"name": "r"}, "rules": None, "aggregationRule": {"clusterRoleSelectors": [selector]}}
    path = "aggregationRule.clusterRoleSelectors[0]"
    assert told(cluster_role.KIND.validate(made)) == [
        f'{path}.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator',
        f"{path}: Invalid value: null: invalid label selector.",
    ]


CATCH_ALL: Object = {
    "type": "Limited",
    "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
}


@pytest.mark.parametrize(
    ("name", "spec", "wanted"),
    [
        pytest.param("catch-all", CATCH_ALL, [], id="as it was"),
        pytest.param("exempt", {"type": "Exempt", "exempt": {"lendablePercent": 5}}, [], id="exempt may lend"),
        pytest.param("mine", {**CATCH_ALL, "type": "Limited"}, [], id="others are free"),
        pytest.param(
            "catch-all",
            {"type": "Exempt"},
            [
                'spec: Invalid value: {"Type":"Exempt","Limited":null,"Exempt":null}: '
                "spec of 'catch-all' must equal the fixed value"
            ],
            id="another type",
        ),
        pytest.param(
            "exempt",
            CATCH_ALL,
            [
                'spec: Invalid value: {"Type":"Limited","Limited":{"NominalConcurrencyShares":5,"LimitResponse":'
                '{"Type":"Reject","Queuing":null},"LendablePercent":0,"BorrowingLimitPercent":null},"Exempt":null}: '
                "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"
            ],
            id="exempt no more",
        ),
    ],
)
def test_mandatory_levels(name: str, spec: Object, wanted: list[str]) -> None:
    assert told(level_errors({"metadata": {"name": name}, "spec": spec})) == wanted


def test_mandatory_schemas() -> None:
    spec = {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "catch-all"}}
    (error,) = flow_schema.KIND.validate({"metadata": {"name": "catch-all"}, "spec": spec})
    assert error.detail == "spec of 'catch-all' must equal the fixed value"
    assert error.value["PriorityLevelConfiguration"] == {"Name": "catch-all"}


def test_hands_that_take_more_bits_than_a_hash_has() -> None:
    queuing = {"queues": 1024, "handSize": 7, "queueLengthLimit": 50}
    limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Queue", "queuing": queuing}}
    made = {"metadata": {"name": "p"}, "spec": {"type": "Limited", "limited": limited}}
    assert told(priority_level_configuration.KIND.validate(made)) == [
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and "
        "handSize 7 should not be greater than 60"
    ]
    queuing["handSize"] = 6
    assert priority_level_configuration.KIND.validate(made) == []


@pytest.mark.parametrize("kind", [flow_schema.KIND, priority_level_configuration.KIND], ids=["schema", "level"])
def test_conditions_of_flow_control(kind: Kind) -> None:
    made = {"status": {"conditions": [{"type": "A"}, {"type": "A"}, {"status": "True"}]}}
    assert told(kind.validate_status(made, {})) == [
        'status.conditions[1].type: Duplicate value: "A"',
        "status.conditions[2].type: Required value: must not be empty",
    ]


def test_schemas_are_listed_as_they_are_tried() -> None:
    listed = [("b", 5), ("a", 9), ("c", 5)]
    made = [{"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence}} for name, precedence in listed]
    table = views.table(flow_schema.KIND, made, {}, 0)
    assert [row["cells"][0] for row in table["rows"]] == ["b", "c", "a"]


def test_exempt_levels_show_no_shares() -> None:
    made = {"metadata": {"name": "exempt"}, "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 3}}}
    assert priority_level_configuration.KIND.row is not None
    assert list(priority_level_configuration.KIND.row(made, 0))[1:6] == ["Exempt", *["<none>"] * 4]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"status": "True", "reason": "Local"}, "True"),
        ({"status": "False", "reason": "NoService"}, "False (NoService)"),
        ({"status": "False"}, "False"),
    ],
)
def test_api_services_say_whether_they_are_there(condition: Object, text: str) -> None:
    made = {"metadata": {"name": "a"}, "spec": {}, "status": {"conditions": [{"type": "Available", **condition}]}}
    assert api_service.KIND.row is not None
    assert list(api_service.KIND.row(made, 0))[2] == text


def test_conditions_of_api_services() -> None:
    made = {"status": {"conditions": [{"type": "Available", "status": "Maybe"}]}}
    assert told(api_service.KIND.validate_status(made, {})) == [
        'status.conditions[0].status: Unsupported value: "Maybe": supported values: "True", "False", "Unknown"'
    ]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({}, [], id="valid"),
        pytest.param({"status": "No"}, ['status: Unsupported value: "No": supported values: "False", "True", '
                                        '"Unknown"'], id="status"),
        pytest.param({"lastTransitionTime": None}, ["lastTransitionTime: Required value: must be set"], id="time"),
        pytest.param({"reason": ""}, ["reason: Required value: must be set"], id="no reason"),
        pytest.param({"observedGeneration": -1}, ["observedGeneration: Invalid value: -1: must be greater than or "
                                                  "equal to zero"], id="generation"),
        pytest.param({"message": "m" * 32769}, ["message: Too long: may not be more than 32768 bytes"], id="message"),
    ],
)  # fmt: skip
def test_standard_conditions(fields: Object, wanted: list[str]) -> None:
    base = {"type": "Ready", "status": "True", "reason": "AsItIs", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    assert told(condition_errors("c", [{**base, **fields}])) == [f"c[0].{text}" for text in wanted]


def test_reasons_of_conditions_are_words() -> None:
    made = {
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "so so", "lastTransitionTime": "x"}]}
    }
    (error,) = validating_admission_policy.KIND.validate_status(made, {})
    assert error.field == "status.conditions[0].reason"
    assert error.detail.startswith("a condition reason must start with alphabetic character")


def test_versions_of_reviews_are_labels() -> None:
    hook = {
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1", "V 2", "v1"],
        "clientConfig": {"url": "https://h"},
    }  # fmt: skip
    errors = webhooks.webhook_errors({"webhooks": [hook]}, mutating=False)
    assert [(error.field, error.type) for error in errors] == [
        ("webhooks[0].admissionReviewVersions[1]", "FieldValueInvalid"),
        ("webhooks[0].admissionReviewVersions[2]", "FieldValueDuplicate"),
    ]


APPROVED = {"type": "Approved", "status": "True"}


def request(*conditions: Object, certificate: str = "") -> Object:
    status = {"conditions": [dict(each) for each in conditions]}
    return {"metadata": {"name": "r"}, "status": {**status, "certificate": certificate} if certificate else status}


def test_decisions_are_made_by_approval_only() -> None:
    approve = REQUEST.extra["validate_approval"]
    assert approve(request(APPROVED), request()) == []
    assert told(REQUEST.validate_status(request(APPROVED), request())) == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]
    assert told(REQUEST.validate_status(request(), request(APPROVED))) == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]


def test_decisions_survive_a_write_of_the_status() -> None:
    old, new = request({**APPROVED, "message": "yes"}), request({**APPROVED, "message": "no"})
    REQUEST.prepare_status(new, old)
    assert new["status"] == old["status"]
    assert new["status"]["conditions"][0] is not old["status"]["conditions"][0]


def test_conditions_come_once() -> None:
    assert told(REQUEST.extra["validate_approval"](request(APPROVED, APPROVED), request(APPROVED))) == [
        'status.conditions[1].type: Duplicate value: "Approved"'
    ]


def block(sort: str, body: str) -> str:
    return base64.b64encode(f"-----BEGIN {sort}-----\n{body}\n-----END {sort}-----\n".encode()).decode()


@pytest.mark.parametrize(
    ("encoded", "wanted"),
    [
        pytest.param("", "", id="none"),
        pytest.param(base64.b64encode(b"x").decode(), "must contain at least one CERTIFICATE PEM block", id="text"),
        pytest.param(
            block("PRIVATE KEY", "eA=="), 'only CERTIFICATE PEM blocks are allowed, found "PRIVATE KEY"', id="key"
        ),
        pytest.param(block("CERTIFICATE", "A: b\n\neA=="), "no PEM block headers are permitted", id="headers"),
    ],
)
def test_certificates(encoded: str, wanted: str) -> None:
    assert certificate_problem(encoded) == wanted


def signed_request(*, spoilt: bool = False) -> str:
    """A request in PEM, in base64; a spoilt one has another name than its key has signed."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "joe")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
    body = base64.encodebytes(signed.replace(b"joe", b"jim") if spoilt else signed)
    text = b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"
    return base64.b64encode(text).decode()


GOOD_REQUEST = signed_request()
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SPECS: list[tuple[Object, list[str]]] = [
    ({}, []),
    ({"request": signed_request(spoilt=True)}, ["x509: ECDSA verification failure"]),
    ({"request": block("CERTIFICATE", "eA==")}, ["PEM block type must be CERTIFICATE REQUEST"]),
    ({"request": "eA=="}, ["PEM block type must be CERTIFICATE REQUEST"]),
    ({"usages": []}, ["spec.usages: Required value"]),
    (
        {"usages": ["nope", "client auth", "client auth", "nope"]},
        [
            'spec.usages[0]: Unsupported value: "nope"',
            'spec.usages[3]: Unsupported value: "nope"',
            'spec.usages[2]: Duplicate value: "client auth"',
            'spec.usages[3]: Duplicate value: "nope"',
        ],
    ),
    ({"signerName": ""}, ["spec.signerName: Required value"]),
    ({"signerName": "a/b/c"}, ["must be a fully qualified domain and path of the form 'example.com/signer-name'"]),
    (
        {"signerName": "host/x"},
        ['spec.signerName: Invalid value: "host": should be a domain with at least two segments separated by dots'],
    ),
    ({"signerName": "A.b_.c/x"}, [f'spec.signerName: Invalid value: "A.b_.c": validating label "A": {LABEL}']),
    ({"signerName": "kubernetes.io/legacy-unknown"}, ["the legacy signerName is not allowed via this API version"]),
    ({"expirationSeconds": 599}, ["may not specify a duration less than 600 seconds (10 minutes)"]),
    ({"expirationSeconds": 600}, []),
]


@pytest.mark.parametrize(("spec", "wanted"), SPECS)
def test_what_may_be_asked_for(spec: Object, wanted: list[str]) -> None:
    usual = {"request": GOOD_REQUEST, "usages": ["client auth"], "signerName": "example.com/x"}
    errors = told(REQUEST.validate({"metadata": {"name": "r"}, "spec": {**usual, **spec}}))
    assert len(errors) == len(wanted)
    assert all(text in error for text, error in zip(wanted, errors, strict=True)), errors


def test_a_block_that_is_no_certificate() -> None:
    assert certificate_problem(block("CERTIFICATE", "eA==")) not in ("", "no PEM block headers are permitted")


def test_a_certificate_is_for_good() -> None:
    old = request(certificate=base64.b64encode(b"old").decode())
    errors = told(REQUEST.validate_status(request(certificate=base64.b64encode(b"new").decode()), thaw(old)))
    assert errors == ["status.certificate: Forbidden: updates may not modify existing certificate content"]


def review(**attributes: Any) -> Object:
    return {"metadata": {}, "spec": {"user": "u", "resourceAttributes": {"verb": "get", **attributes}}}


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(review(), [], id="valid"),
        pytest.param(
            review(fieldSelector={"rawSelector": "a=b", "requirements": [{"operator": "In"}]}),
            [
                'rawSelector: Invalid value: "a=b": may not specified at the same time as requirements',
                "requirements[0].key: Required value: must be specified",
                "requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ],
            id="fields",
        ),
        pytest.param(
            review(labelSelector={"requirements": [{"key": "a", "operator": "Later", "values": ["b c"]}]}),
            [
                'requirements[0].values[0]: Invalid value: "b c": a valid label must be an empty string or consist of '
                "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ],
            id="labels",
        ),
    ],
)
def test_reviews(made: Object, wanted: list[str]) -> None:
    texts = [text.partition("Selector.")[2] for text in told(reviews.validate_subject(made))]
    assert texts == wanted


def test_reviews_have_no_metadata() -> None:
    named = {**review(namespace="x"), "metadata": {"namespace": "x", "name": "n"}}
    assert [error.detail for error in reviews.validate_local(named)] == ["must be empty except for namespace"]
    assert [error.detail for error in reviews.validate_self(named)] == ["must be empty"]
    elsewhere = {**review(namespace="y"), "metadata": {"namespace": "x"}}
    assert [error.detail for error in reviews.validate_local(elsewhere)] == ["must match metadata.namespace"]


def test_what_the_server_serves_itself_is_available_at_once() -> None:
    spec = {"group": "g.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    created = "2026-11-21T00:00:00Z"
    found = []
    for service in ({}, {"service": {"namespace": "n", "name": "s"}}):
        draft: Object = {"metadata": {"name": "v1.g.io", "creationTimestamp": created}, "spec": {**spec, **service}}
        api_service.KIND.prepare_create(draft)
        found.append(draft["status"].get("conditions"))
    assert found == [
        [
            {
                "type": "Available",
                "status": "True",
                "lastTransitionTime": created,
                "reason": "Local",
                "message": "Local APIServices are always available",
            }
        ],
        None,
    ]
    local: Object = {"metadata": {"name": "v1.g.io"}, "spec": {**spec, "caBundle": base64.b64encode(b"12345").decode()}}
    text = 'spec.caBundle: Invalid value: "5 bytes": local APIServices may not have a caBundle'
    assert text in told(api_service.KIND.validate(local))
