"""Names, times, conditions, owners and hashes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery import names
from minikube_py.machinery.conditions import condition_is_true, find_condition, remove_condition, set_condition
from minikube_py.machinery.hashes import fnv32a, pod_template_hash, safe_encode
from minikube_py.machinery.owners import controller_of, is_controlled_by, owner_reference
from minikube_py.machinery.times import parse_time, rfc3339, rfc3339_micro

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("check", "text", "errors"),
    [
        (names.dns1123_label_errors, "good-1", []),
        (names.dns1123_label_errors, "Bad", [LABEL]),
        (names.dns1123_label_errors, "a" * 64, ["must be no more than 63 characters"]),
        (names.dns1123_label_errors, "a.b", ["must not contain dots"]),
        (names.dns1123_subdomain_errors, "a.b-c", []),
        (names.dns1123_subdomain_errors, "a..b", [SUBDOMAIN]),
        (names.dns1035_label_errors, "a-1", []),
        (names.qualified_name_errors, "example.com/Name_1", []),
        (names.qualified_name_errors, "k" * 64, ["name part must be no more than 63 bytes"]),
        (names.label_value_errors, "", []),
        (names.label_value_errors, "v" * 64, ["must be no more than 63 bytes"]),
        (names.port_name_errors, "http", []),
        (names.port_name_errors, "1-2", ["must contain at least one letter (a-z)"]),
        (names.port_name_errors, "a--b", ["must not contain consecutive hyphens"]),
        (names.path_segment_errors, "a/b", ["may not contain '/'"]),
        (names.config_key_errors, "..x", ["must not start with '..'"]),
    ],
)
def test_names(check: Any, text: str, errors: list[str]) -> None:
    assert check(text) == errors


def test_a_generated_name_keeps_its_prefix_and_fits() -> None:
    name = names.generate_name("x" * 70)
    assert len(name) == 63
    assert name.startswith("x" * 58)
    assert names.name_is_dns_subdomain("prefix-", True) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        ("2026-13-01T00:00:00Z", 'parsing time "2026-13-01T00:00:00Z": month out of range'),
        ("2026-02-29T00:00:00Z", 'parsing time "2026-02-29T00:00:00Z": day out of range'),
        ("2026-01-01T00", 'parsing time "2026-01-01T00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as ":"'),
    ],
)
def test_malformed_times(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_time(text)
    assert str(caught.value) == why


def test_micro_times_have_six_digits() -> None:
    assert parse_time("2020-01-01T00:00:00.500000Z", micro=True) == 1577836800.5
    with pytest.raises(ValueError, match=r'cannot parse "\.5Z" as "\.000000"'):
        parse_time("2020-01-01T00:00:00.5Z", micro=True)


def test_time_texts() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339_micro(1.5) == "1970-01-01T00:00:01.500000Z"
    assert parse_time("1970-01-01T02:00:00+02:00") == 0


@settings(max_examples=50)
@given(st.integers(0, 4_000_000_000))
def test_times_round_trip(seconds: int) -> None:
    assert parse_time(rfc3339(seconds)) == seconds


def test_a_condition_keeps_its_transition_time_while_the_status_stays() -> None:
    conditions: list[dict[str, Any]] = []
    assert set_condition(conditions, {"type": "Ready", "status": "True"}, 0)
    assert set_condition(conditions, {"type": "Ready", "status": "True", "reason": "Fine"}, 60)
    assert conditions == [
        {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z", "reason": "Fine"}
    ]
    assert not set_condition(conditions, {"type": "Ready", "status": "True", "reason": "Fine"}, 90)
    assert set_condition(conditions, {"type": "Ready", "status": "False"}, 120)
    assert conditions[0]["lastTransitionTime"] == "1970-01-01T00:02:00Z"
    assert not condition_is_true(conditions, "Ready")
    assert remove_condition(conditions, "Ready")
    assert find_condition(conditions, "Ready") is None


def test_owner_references() -> None:
    owner = {"metadata": {"name": "rs", "uid": "u1"}}
    reference = owner_reference(owner, "apps/v1", "ReplicaSet")
    pod = {"metadata": {"ownerReferences": [reference]}}
    assert controller_of(pod) == reference
    assert is_controlled_by(pod, owner)
    assert not is_controlled_by(pod, {"metadata": {"uid": "u2"}})
    assert "controller" not in owner_reference(owner, "v1", "X", controller=False, block=False)


def test_hashes() -> None:
    assert fnv32a(b"hello") == 0x4F9F2CAB
    assert set(safe_encode("0123456789")) <= set("bcdfghjklmnpqrstvwxz2456789")
    template = {"spec": {"a": 1, "b": 2}}
    assert pod_template_hash(template) == pod_template_hash({"spec": {"b": 2, "a": 1}})
    assert pod_template_hash(template) != pod_template_hash(template, 1)
    assert names.label_value_errors(pod_template_hash(template)) == []
