"""The built-in kinds against a real server's discovery documents."""

from __future__ import annotations

import json

import pytest
from kinds_recordings import RECORDED

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.kinds.groups import BUILTIN_PRIORITIES
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import definitions

needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings beside the repository")


def _recorded() -> Object:
    steps = json.loads((RECORDED / "discovery.json").read_text())["steps"]
    return {step["id"]: step["expect"].get("body") for step in steps}


def _entry(kind: Kind) -> Object:
    """The kind as the aggregated document lists it."""
    resource = kind.resource
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind or resource.kind},
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return entry


@needs_recordings
def test_groups_are_listed_as_a_real_server_lists_them() -> None:
    found: dict[tuple[str, str], list[Object]] = {}
    for kind in builtin_kinds():
        if kind.resource.group:
            found.setdefault((kind.resource.group, kind.resource.version), []).append(_entry(kind))
    wanted = {
        (group["metadata"]["name"], version["version"]): version["resources"]
        for group in _recorded()["roots.apis-aggregated"]["items"]
        for version in group["versions"]
    }
    assert list(found) == list(wanted)
    for group_version, resources in wanted.items():
        assert [entry["resource"] for entry in found[group_version]] == [entry["resource"] for entry in resources]
        for ours, theirs in zip(found[group_version], resources, strict=True):
            assert ours == theirs


@needs_recordings
def test_the_core_group_is_listed_as_a_real_server_lists_it() -> None:
    wanted = _recorded()["gv-v1.resources"]["resources"]
    found = []
    for kind in builtin_kinds():
        if kind.resource.group:
            continue
        found.append((kind.resource.plural, kind.resource.kind, list(kind.verbs)))
        found += [
            (f"{kind.resource.plural}/{sub.name}", sub.kind or kind.resource.kind, list(sub.verbs))
            for sub in kind.subresources
        ]
    assert found == [(entry["name"], entry["kind"], entry["verbs"]) for entry in wanted]


def test_every_definition_is_in_the_bundle() -> None:
    known = definitions()
    assert [kind.definition for kind in builtin_kinds() if kind.definition not in known] == []


def test_priorities_name_every_group_version_in_discovery_order() -> None:
    served = list(dict.fromkeys((kind.resource.group, kind.resource.version) for kind in builtin_kinds()))
    served.remove(("apiregistration.k8s.io", "v1"))
    assert [(entry.group, entry.version) for entry in BUILTIN_PRIORITIES] == served


@pytest.mark.parametrize("kind", builtin_kinds(), ids=lambda kind: f"{kind.resource.qualified}/{kind.resource.version}")
def test_columns_and_rows_go_together(kind: Kind) -> None:
    assert bool(kind.columns) == (kind.row is not None)
    if kind.row is not None and not kind.extra.get("virtual"):
        empty: Object = {"metadata": {"name": "x", "creationTimestamp": "2026-11-21T06:00:00Z"}}
        untitled = kind.resource.plural == "ipaddresses"  # Kubernetes gives their age a cell, but no column
        assert len(kind.row(empty, 1795154405.0)) == len(kind.columns) + untitled
