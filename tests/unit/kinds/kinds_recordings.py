"""Recorded POST requests of a real API server, taken through the kinds alone: no server, no store.

What the server adds beside the kind (uids, allocated addresses, admission's service account volume,
tolerations and priority) is taken out of the expectation, or given to the draft before it is compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.kinds.common.metadata import metadata_errors
from minikube_py.machinery.objects import Object, thaw

RECORDED = Path(__file__).resolve().parents[4] / "shared/oracle/recorded"
_PATH = re.compile(
    r"^(?:/api/(?P<core>v1)|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)$"
)
_SERVER_META = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded POST: what was sent and what came back."""

    id: str
    kind: Kind
    namespace: str
    body: Object
    status: int
    answer: Object


def cases(*names: str) -> Iterator[Case]:
    """Recorded POSTs to collections, of these files or of all."""
    files = [RECORDED / name for name in names] if names else sorted(RECORDED.glob("*.json"))
    for file in files:
        content = json.loads(file.read_text())
        namespace = (content.get("vars") or {}).get("ns", "")
        for step in content["steps"]:
            found = _case(file.stem, step, namespace)
            if found is not None:
                yield found


def _case(topic: str, step: Object, namespace: str) -> Case | None:
    if step.get("method") != "POST" or not isinstance(step.get("body"), dict):
        return None
    answer = step["expect"].get("body")
    if step["expect"]["status"] not in (201, 422) or not isinstance(answer, dict):
        return None
    text = json.dumps(step).replace("${ns}", namespace)
    if "${" in json.dumps(step["body"]).replace("${ns}", "") or "fieldValidation=Loud" in text or "dryRun=Some" in text:
        return None
    step = json.loads(text)
    match = _PATH.match(step["path"].split("?")[0])
    if match is None:
        return None
    kind = find_kind(match["group"] or "", match["core"] or match["version"], match["plural"])
    if kind is None or kind.extra.get("virtual") or answer.get("kind") not in ("Status", kind.resource.kind):
        return None
    return Case(f"{topic}:{step['id']}", kind, match["namespace"] or "", step["body"], step["expect"]["status"], answer)


def find_kind(group: str, version: str, plural: str) -> Kind | None:
    for kind in builtin_kinds():
        if (kind.resource.group, kind.resource.version, kind.resource.plural) == (group, version, plural):
            return kind
    return None


def run(case: Case) -> tuple[Object, list[Object]]:
    """The draft after everything the kind does on creation, and the causes of its errors."""
    draft = thaw(case.body)
    meta = draft.setdefault("metadata", {})
    if case.namespace:
        meta["namespace"] = case.namespace
    _prune(draft, case.answer)
    case.kind.default(draft)
    if case.kind.to_storage is not None:
        draft = case.kind.to_storage(draft)
    kind = find_kind(case.kind.stored_as.group, case.kind.stored_as.version, case.kind.stored_as.plural) or case.kind
    meta = draft["metadata"]
    meta["uid"] = (case.answer.get("metadata") or {}).get("uid") or "u"
    created = (case.answer.get("metadata") or {}).get("creationTimestamp")
    if created:
        meta["creationTimestamp"] = created
    if meta.get("generateName") and not meta.get("name"):
        meta["name"] = (case.answer.get("metadata") or {}).get("name") or "x"
    if case.kind.resource.kind == "Pod":
        draft["spec"].setdefault("serviceAccountName", "default")  # as admission does
    case.kind.prepare_create(draft) if kind is case.kind else kind.prepare_create(draft)
    if case.status == 201:
        _allocate(draft, case.answer)
    errors = metadata_errors(case.kind, draft) + (
        kind.validate(draft)
        if kind is case.kind
        else case.kind.validate(case.kind.from_storage(draft) if case.kind.from_storage else draft)
    )
    if kind is not case.kind and case.kind.from_storage is not None:
        draft = case.kind.from_storage(draft)
    return draft, [error.cause() for error in errors]


def _prune(draft: Object, answer: Object) -> None:
    """Unknown fields that recordings send on purpose."""
    for part in (draft, draft["metadata"], draft.get("spec")):
        if isinstance(part, dict):
            for name in ("nope", "bogus", "nada"):
                part.pop(name, None)


def _allocate(draft: Object, answer: Object) -> None:
    """What the registry allocates for Services."""
    if draft.get("kind") == "Service":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"):
            if name in answer["spec"]:
                draft["spec"].setdefault(name, answer["spec"][name])
        for port, given in zip(draft["spec"].get("ports") or (), answer["spec"].get("ports") or (), strict=False):
            if "nodePort" in given:
                port.setdefault("nodePort", given["nodePort"])


def comparable(obj: Object, case: Case) -> Object:
    """Without what the server and admission add beside the kind."""
    result = thaw(obj)
    for name in _SERVER_META:
        result["metadata"].pop(name, None)
    if case.kind.resource.kind == "Pod":
        _strip_admission(result["spec"])
    if case.kind.resource.kind in ("PersistentVolume", "PersistentVolumeClaim", "VolumeAttributesClass"):
        kept = [f for f in result["metadata"].pop("finalizers", ()) if not f.endswith("-protection")]
        result["metadata"]["finalizers"] = kept
    if case.kind.resource.kind == "CertificateSigningRequest":
        for name in ("username", "groups", "uid", "extra"):
            result["spec"].pop(name, None)
    if case.kind.resource.kind == "Node":
        result["spec"].pop("taints", None)
    return result


def _strip_admission(spec: Object) -> None:
    for name in ("priority", "preemptionPolicy", "serviceAccountName", "serviceAccount", "priorityClassName"):
        spec.pop(name, None)
    spec["volumes"] = [v for v in spec.get("volumes") or () if not v["name"].startswith("kube-api-access")]
    added = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/memory-pressure")
    spec["tolerations"] = [t for t in spec.get("tolerations") or () if t.get("key") not in added]
    for sort in ("containers", "initContainers"):
        for container in spec.get(sort) or ():
            mounts = [m for m in container.get("volumeMounts") or () if not m["name"].startswith("kube-api-access")]
            container["volumeMounts"] = mounts


def difference(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [
            line
            for name in sorted({*expected, *actual})
            for line in difference(expected.get(name, "<absent>"), actual.get(name, "<absent>"), f"{path}.{name}")
        ]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for index, (one, two) in pairs for line in difference(one, two, f"{path}[{index}]")]
    return [] if expected == actual else [f"{path}: expected {expected!r}, got {actual!r}"]


def grade(case: Case) -> list[str]:
    """The differences between what was recorded and what the kind makes of the request."""
    draft, causes = run(case)
    if case.status == 422:
        wanted = (case.answer.get("details") or {}).get("causes") or []
        return difference(plain(wanted), plain(causes))
    if causes:
        return [f"refused: {causes}"]
    return difference(comparable(case.answer, case), comparable(draft, case))


def plain(causes: list[Object]) -> list[Object]:
    """Causes with the wordings that the recordings replaced by placeholders."""
    return [
        {**cause, "message": re.sub(r'Invalid value: ("?\{.*?\}"?|<object>): (?=[a-z])', "Invalid value: <object>: ",
                                    cause["message"])}
        for cause in causes
    ]  # fmt: skip


if __name__ == "__main__":
    import sys
    import traceback

    total = good = 0
    verbose = "-v" in sys.argv
    for one in cases(*[a for a in sys.argv[1:] if not a.startswith("-")]):
        total += 1
        try:
            found = grade(one)
        except Exception:
            found = [traceback.format_exc(limit=-2)]
        good += not found
        if found and verbose:
            print(one.id)
            for line in found[:6]:
                print("   ", line[:400])
    print(f"{good}/{total}")
