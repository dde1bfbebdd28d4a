"""Node selectors, required node affinity, taints and tolerations: one set of rules for whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.placement import required_matches, requirement_matches, toleration_matches, untolerated

LABELS = {"disk": "fast", "size": "7", "low": "-3", "text": "seven"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "wanted"),
    [
        ("disk", "In", ["slow", "fast"], True),
        ("disk", "In", [], False),
        ("none", "In", [""], False),
        ("disk", "NotIn", ["slow"], True),
        ("disk", "NotIn", ["fast"], False),
        ("none", "NotIn", ["fast"], True),
        ("disk", "Exists", [], True),
        ("none", "Exists", [], False),
        ("none", "DoesNotExist", [], True),
        ("disk", "DoesNotExist", [], False),
        ("size", "Gt", ["6"], True),
        ("size", "Gt", ["7"], False),
        ("low", "Lt", ["-2"], True),
        ("low", "Gt", ["-4"], True),
        ("text", "Gt", ["1"], False),
        ("size", "Gt", ["six"], False),
        ("size", "Lt", ["1_0"], False),
        ("size", "Gt", ["1", "2"], False),
        ("none", "Lt", ["1"], False),
        ("disk", "Resembles", ["fast"], False),
    ],
)
def test_requirements(key: str, operator: str, values: list[str], wanted: bool) -> None:
    assert requirement_matches({"key": key, "operator": operator, "values": values}, LABELS) is wanted


def term(*expressions: tuple[str, str, list[str]], name: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "matchExpressions": [{"key": key, "operator": operator, "values": list(v)} for key, operator, v in expressions]
    }
    if name:
        made["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": [name]}]
    return made


FAST, BIG, SLOW = ("disk", "In", ["fast"]), ("size", "Gt", ["5"]), ("disk", "In", ["slow"])


@pytest.mark.parametrize(
    ("selector", "terms", "wanted"),
    [
        pytest.param({}, None, True, id="nothing asked"),
        pytest.param({"disk": "fast"}, None, True, id="a selector"),
        pytest.param({"disk": "fast", "x": "y"}, None, False, id="all of a selector"),
        pytest.param({}, [term(FAST, BIG)], True, id="all of a term"),
        pytest.param({}, [term(SLOW, BIG)], False, id="half of a term"),
        pytest.param({}, [term(SLOW), term(BIG)], True, id="any of the terms"),
        pytest.param({}, [], False, id="no terms"),
        pytest.param({}, [{}], False, id="an empty term"),
        pytest.param({}, [term(name="n")], True, id="by name"),
        pytest.param({}, [term(FAST, name="m")], False, id="by another name"),
        pytest.param({"disk": "slow"}, [term(FAST)], False, id="a selector and terms"),
    ],
)
def test_required_places(selector: dict[str, str], terms: list[Any] | None, wanted: bool) -> None:
    spec: dict[str, Any] = {"nodeSelector": selector}
    if terms is not None:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    assert required_matches(spec, LABELS, "n") is wanted


TAINT = {"key": "k", "value": "5", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("toleration", "wanted"),
    [
        ({"key": "k", "value": "5"}, True),
        ({"key": "k", "operator": "Equal", "value": "5", "effect": "NoExecute"}, True),
        ({"key": "k", "value": "6"}, False),
        ({"key": "k", "value": "5", "effect": "NoSchedule"}, False),
        ({"key": "k", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"value": "5"}, False),
        ({"key": "k", "operator": "Gt", "value": "4"}, True),
        ({"key": "k", "operator": "Gt", "value": "5"}, False),
        ({"key": "k", "operator": "Lt", "value": "6"}, True),
        ({"key": "k", "operator": "Lt", "value": "many"}, False),
        ({"key": "k", "operator": "Resembles", "value": "5"}, False),
    ],
)
def test_tolerations(toleration: dict[str, Any], wanted: bool) -> None:
    assert toleration_matches(toleration, TAINT) is wanted


def test_the_first_taint_that_nothing_tolerates() -> None:
    soft, hard = {"key": "a", "effect": "PreferNoSchedule"}, {"key": "b", "effect": "NoSchedule"}
    taints = [soft, TAINT, hard]
    assert untolerated(taints, [], ("NoSchedule", "NoExecute")) == TAINT
    assert untolerated(taints, [{"key": "k", "operator": "Exists"}], ("NoSchedule", "NoExecute")) == hard
    assert untolerated(taints, [{"operator": "Exists"}], ("NoSchedule", "NoExecute")) is None
    assert untolerated(taints, [], ("NoExecute",)) == TAINT
