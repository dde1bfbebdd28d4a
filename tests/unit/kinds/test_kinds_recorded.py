"""The kinds against recorded requests of a real API server: creation, updates and tables.

What is not the kinds' business is listed with its reason; everything else must match exactly.
"""

from __future__ import annotations

import fnmatch
import json
import re

import kinds_recorded_updates
import kinds_recordings
import pytest
from kinds_recordings import RECORDED, find_kind

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.printing import column_description
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import parse_time

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings beside the repository")

ELSEWHERE = {
    "admission:*": "admission plugins change or refuse it",
    "*.cel": "CEL",
    "*.cel-not-bool": "CEL",
    "*.not-bool": "CEL",
    "*.undeclared": "CEL",
    "*.audit": "CEL",
    "*.message-expression": "CEL",
    "*webhookconfigurations.condition": "CEL",
    "crd:define.create": "CEL cost",
    "rich:svc-*": "address allocation",
    "invalid-network:services.cluster-ip-*": "address allocation",
    "invalid-network:services.dual-stack": "address families of the cluster",
    "crud-core:limitranges.fields.no-name": "a random name",
    "invalid-workloads:jobs.selector-given": "the uid is not in the answer",
    "negotiation:post-version-only": "the registry fills in the kind",
    "crud-apiregistration:apiservices.*": "status written by the aggregator",
    "crud-flowcontrol:flowschemas.delete.*": "status written by a controller",
    "crud-core2:pods.update.*": "tolerations added by admission",
    "crud-core2:services.update.to-rich": "node port allocation",
}


def _elsewhere(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in ELSEWHERE)


def _topics() -> list[str]:
    return sorted(path.name for path in RECORDED.glob("*.json"))


@pytest.mark.parametrize("topic", _topics())
def test_recorded_creations_match(topic: str) -> None:
    wrong = {
        case.id: lines
        for case in kinds_recordings.cases(topic)
        if not _elsewhere(case.id) and (lines := kinds_recordings.grade(case))
    }
    assert wrong == {}


@pytest.mark.parametrize("topic", _topics())
def test_recorded_updates_match(topic: str) -> None:
    wrong = {
        update.id: lines
        for update in kinds_recorded_updates.updates(topic)
        if not _elsewhere(update.id) and (lines := kinds_recorded_updates.grade(update))
    }
    assert wrong == {}


_COLLECTION = re.compile(
    r"^(?:/api/(?P<core>v1)|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/[^/]+)?/(?P<plural>[a-z]+)(/[^/]+)?$"
)


@pytest.mark.parametrize("topic", _topics())
def test_recorded_tables_match(topic: str) -> None:
    objects: dict[object, Object] = {}
    for step in json.loads((RECORDED / topic).read_text())["steps"]:
        body = step.get("expect", {}).get("body")
        if not isinstance(body, dict):
            continue
        meta = body.get("metadata") or {}
        if body.get("kind") != "Table":
            if meta.get("uid") and step["expect"]["status"] in (200, 201):
                objects[meta["uid"]] = objects[body["kind"], meta.get("name")] = body
            continue
        found = _COLLECTION.match(step["path"].split("?")[0])
        kind = found and find_kind(found["group"] or "", found["core"] or found["version"], found["plural"])
        if kind:
            _check_table(step["id"], kind, body, objects)


def _check_table(step: str, kind: Kind, table: Object, objects: dict[object, Object]) -> None:
    shown = [[c.name, c.type, c.format, column_description(c), c.priority] for c in kind.columns]
    fields = ("name", "type", "format", "description", "priority")
    if kind.columns:
        assert shown == [[column[field] for field in fields] for column in table["columnDefinitions"]], step
    for row in table["rows"]:
        part = row.get("object") or {}
        uid = (part.get("metadata") or {}).get("uid")
        whole = part if part.get("kind") == kind.resource.kind else objects.get(uid or "")
        whole = whole or objects.get((kind.resource.kind, row["cells"][0]))
        if whole is not None and kind.row is not None:
            created = parse_time(whole["metadata"]["creationTimestamp"])
            assert list(kind.row(whole, created)) == row["cells"], step
