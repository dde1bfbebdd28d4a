"""Label and field selectors: grammar, texts of errors, matching."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.selectors import (
    EVERYTHING,
    NOTHING,
    Requirement,
    Selector,
    escape_field_value,
    make_selector,
    parse_field_selector,
    parse_label_selector,
    selector_from_label_selector,
    selector_from_map,
)

LABELS = {"par": "even", "n": "8", "low": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("par=even", True), ("par==even", True), ("par = even", True), ("par!=even", False),
        ("par in (even,odd)", True), ("par notin (even)", False), ("low", True), ("!low", False), ("!nosuch", True),
        ("low=", True), ("par=", False), ("par=even,low", True), ("n>7", True), ("n>8", False), ("n<9", True),
        ("par>1", False), ("par in ()", False), ("par in (,even)", True), ("in in (in)", False), ("x notin (a)", True),
    ],
)  # fmt: skip
def test_matching(text: str, matches: bool) -> None:
    assert parse_label_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "n>abc",
            "unable to parse requirement: values[0]: Invalid value: "
            "\"abc\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("par in (even", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("bad key!=x", "unable to parse requirement: found 'key', expected: in, notin, =, ==, !=, gt, lt"),
        ("par is even", "unable to parse requirement: found 'is', expected: in, notin, =, ==, !=, gt, lt"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("par=even,", "found '', expected: identifier after ','"),
        ("par notin even", "unable to parse requirement: found 'even' expected: '('"),
    ],
)
def test_malformed_label_selectors(text: str, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_label_selector(text)
    assert (caught.value.code, caught.value.message) == (400, why)


def test_invalid_keys_and_values_are_named() -> None:
    with pytest.raises(ApiError) as caught:
        parse_label_selector("par=even&x")
    assert caught.value.message.startswith(
        'unable to parse requirement: values[0][par]: Invalid value: "even&x": a valid label must be an empty string'
    )
    with pytest.raises(ApiError) as caught:
        parse_label_selector("a/b/c=d")
    assert caught.value.message.startswith(
        'unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label key must consist of'
    )


def test_label_selector_objects() -> None:
    assert selector_from_label_selector(None) is NOTHING
    assert selector_from_label_selector({}) is EVERYTHING
    assert selector_from_map({}) is EVERYTHING
    selector = selector_from_label_selector(
        {"matchLabels": {"par": "even"}, "matchExpressions": [{"key": "low", "operator": "Exists"}]}
    )
    assert selector.matches(LABELS)
    assert not selector.matches({"par": "even"})
    assert selector.equalities() == {"par": "even"}
    with pytest.raises(ApiError, match="is not a valid label selector operator"):
        selector_from_label_selector({"matchExpressions": [{"key": "a", "operator": "Is"}]})


keys = st.sampled_from(["a", "b", "example.com/c"])
values = st.sampled_from(["x", "y", "1", "20", ""])
requirements = st.one_of(
    st.builds(lambda key, value: Requirement(key, "=", (value,)), keys, values),
    st.builds(lambda key, value: Requirement(key, "!=", (value,)), keys, values),
    st.builds(lambda key, found: Requirement(key, "in", tuple(sorted(found))), keys, st.sets(values, min_size=1)),
    st.builds(lambda key, found: Requirement(key, "notin", tuple(sorted(found))), keys, st.sets(values, min_size=1)),
    st.builds(lambda key: Requirement(key, "exists"), keys),
    st.builds(lambda key: Requirement(key, "!"), keys),
)


@settings(max_examples=80)
@given(st.lists(requirements, max_size=4), st.dictionaries(keys, values, max_size=3))
def test_a_printed_selector_means_the_same(parts: list[Requirement], labels: dict[str, str]) -> None:
    selector = make_selector(parts)
    again = parse_label_selector(str(selector))
    assert again.matches(labels) == selector.matches(labels) == all(part.matches(labels) for part in parts)
    assert isinstance(again, Selector)


def test_field_selectors() -> None:
    selector = parse_field_selector(r"metadata.name=a\,b,spec.nodeName!=n1")
    assert selector.requirements == (("metadata.name", "=", "a,b"), ("spec.nodeName", "!=", "n1"))
    assert selector.matches({"metadata.name": "a,b", "spec.nodeName": ""}.__getitem__)
    assert selector.exact("metadata.name") == "a,b"
    assert parse_field_selector(str(selector)) == selector
    assert parse_field_selector("").empty


@pytest.mark.parametrize("text", ["bogus", "metadata.name in (a)"])
def test_malformed_field_selectors(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_field_selector(text)
    assert caught.value.message == f"invalid selector: '{text}'; can't understand '{text}'"


@settings(max_examples=40)
@given(st.text(max_size=8))
def test_escaped_field_values_round_trip(value: str) -> None:
    assert parse_field_selector(f"a={escape_field_value(value)}").exact("a") == value
