"""What a definition's status says: names that are taken, schemas that are not structural, stored versions."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.apiserver.custom.naming import Taken, write_status
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.objects import Object

NOTHING = Taken(frozenset(), frozenset())
STRUCTURAL: Object = {"type": "object", "properties": {"spec": {"type": "object"}}}


def definition(schema: Object = STRUCTURAL, **names: Any) -> Object:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    wanted = {"plural": "hats", "singular": "hat", "kind": "Hat", "listKind": "HatList", **names}
    return {
        "metadata": {"name": "hats.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": wanted, "versions": [version]},
    }


def conditions(crd: Object) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in crd["status"]["conditions"]}


@pytest.mark.parametrize(
    ("taken", "reason", "accepted"),
    [
        pytest.param(NOTHING, "NoConflicts", {"plural", "singular", "kind", "listKind"}, id="free"),
        pytest.param(
            Taken(frozenset({"hats"}), frozenset()), "PluralConflict", {"singular", "kind", "listKind"}, id="plural"
        ),
        pytest.param(
            Taken(frozenset(), frozenset({"HatList"})), "ListKindConflict", {"plural", "singular", "kind"}, id="list"
        ),
    ],
)
def test_names_that_are_taken(taken: Taken, reason: str, accepted: set[str]) -> None:
    crd = definition()
    write_status(crd, taken, 0.0)
    free = "True" if reason == "NoConflicts" else "False"
    assert conditions(crd)["NamesAccepted"] == (free, reason)
    assert conditions(crd)["Established"][0] == free
    assert {name for name, value in crd["status"]["acceptedNames"].items() if value} == accepted


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        ("", ("False", "MissingAnnotation")),
        ("somewhere", ("False", "InvalidAnnotation")),
        ("unapproved, for a test", ("False", "UnapprovedAnnotation")),
        ("https://example.com/1", ("True", "ApprovedAnnotation")),
    ],
)
def test_definitions_in_groups_of_the_community_tell_of_their_approval(annotation: str, wanted: Any) -> None:
    crd = definition()
    write_status(crd, NOTHING, 0.0)
    assert "KubernetesAPIApprovalPolicyConformant" not in conditions(crd)
    crd["spec"]["group"], crd["metadata"]["annotations"] = "hats.k8s.io", {"api-approved.kubernetes.io": annotation}
    write_status(crd, NOTHING, 1.0)
    assert conditions(crd)["KubernetesAPIApprovalPolicyConformant"] == wanted


def test_an_established_definition_stays_so_when_it_wants_a_taken_name() -> None:
    crd = definition()
    write_status(crd, NOTHING, 0.0)
    crd["spec"]["names"]["shortNames"] = ["ht"]
    write_status(crd, Taken(frozenset({"ht"}), frozenset()), 1.0)
    assert conditions(crd)["NamesAccepted"] == ("False", "ShortNamesConflict")
    assert conditions(crd)["Established"][0] == "True"


def test_a_stored_schema_that_is_not_structural_is_told_until_it_is_mended() -> None:
    crd = definition({"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}})
    write_status(crd, NOTHING, 0.0)
    told = find_condition(crd["status"]["conditions"], "NonStructuralSchema")
    assert told is not None and (told["status"], told["reason"]) == ("True", "Violations")
    path = "spec.versions[0].schema.openAPIV3Schema.properties[spec].type"
    assert told["message"] == f"{path}: Required value: must not be empty for specified object fields"
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = STRUCTURAL
    write_status(crd, NOTHING, 1.0)
    assert find_condition(crd["status"]["conditions"], "NonStructuralSchema") is None


def test_versions_that_were_stored_are_kept() -> None:
    crd = definition()
    crd["status"] = {"storedVersions": ["v1beta1"]}
    write_status(crd, NOTHING, 0.0)
    assert crd["status"]["storedVersions"] == ["v1beta1", "v1"]
