"""Recorded PUT and PATCH requests of a real API server, taken through the kinds alone.

The last recorded answer for a path is the stored object; the request changes it as the registry would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kinds_recordings import RECORDED, Case, comparable, difference, find_kind, plain

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.metadata import metadata_update_errors
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.patching.merge_patch import apply_merge_patch
from minikube_py.machinery.patching.strategic_patch import apply_strategic_patch
from minikube_py.machinery.schema import definitions

_PATH = re.compile(
    r"^(?P<object>(?:/api/(?P<core>v1)|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)/[^/]+)(?:/(?P<sub>status))?$"
)


@dataclass(frozen=True, slots=True)
class Update:
    """One recorded change of an object."""

    id: str
    kind: Kind
    subresource: str
    old: Object
    request: Object
    patch: str
    status: int
    answer: Object


def updates(*names: str) -> Iterator[Update]:
    """Recorded updates that need nothing but the kind."""
    files = [RECORDED / name for name in names] if names else sorted(RECORDED.glob("*.json"))
    for file in files:
        yield from _of_file(json.loads(file.read_text()), file.stem)


def _of_file(content: Object, topic: str) -> Iterator[Update]:
    namespace = (content.get("vars") or {}).get("ns", "")
    stored: dict[str, Object] = {}
    for raw in content["steps"]:
        step = json.loads(json.dumps(raw).replace("${ns}", namespace))
        answer, status = step["expect"].get("body"), step["expect"].get("status")
        if not isinstance(answer, dict) or "path" not in step:
            continue
        path = step["path"].split("?")[0]
        found = _PATH.match(path)
        if found is not None and step["method"] in ("PUT", "PATCH") and "=" not in step["path"]:
            update = _update(f"{topic}:{step['id']}", step, found, stored.get(found["object"]), status, answer)
            if update is not None:
                yield update
        if status in (200, 201) and "dryRun" not in step["path"]:
            _remember(stored, path, step["method"], answer)


def _remember(stored: dict[str, Object], path: str, method: str, answer: Object) -> None:
    name = (answer.get("metadata") or {}).get("name")
    if name and answer.get("kind") not in ("Status", "Table", "PartialObjectMetadata", "Scale"):
        stored[f"{path}/{name}" if method == "POST" else path.removesuffix("/status")] = answer


def _update(
    name: str, step: Object, found: re.Match[str], old: Object | None, status: int, answer: Object
) -> Update | None:
    kind = find_kind(found["group"] or "", found["core"] or found["version"], found["plural"])
    sort = (step.get("headers") or {}).get("Content-Type", "")
    if kind is None or old is None or not isinstance(step.get("body"), dict) or status not in (200, 422):
        return None
    if step["method"] == "PATCH" and sort not in (
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ):
        return None
    causes = [c.get("field") for c in (answer.get("details") or {}).get("causes") or ()]
    if status == 422 and ({"patch", "metadata.resourceVersion"} & set(causes) or not causes):
        return None
    if answer.get("kind") not in ("Status", kind.resource.kind):
        return None
    patch = sort if step["method"] == "PATCH" else ""
    return Update(name, kind, found["sub"] or "", old, step["body"], patch, status, answer)


def run(update: Update) -> tuple[Object, list[Object]]:
    """The changed object and the causes of its errors."""
    kind, old = update.kind, update.old
    draft = _changed(update)
    kind.default(draft)
    if update.subresource == "status":
        draft = {**thaw(old), "status": draft.get("status"), "metadata": draft["metadata"]}
        _keep_metadata(draft, old)
        kind.prepare_status(draft, old)
        errors = metadata_update_errors(kind, draft, old) + kind.validate_status(draft, old)
        return draft, [error.cause() for error in errors]
    _keep_metadata(draft, old)
    if kind.has_status and "status" in old:
        draft["status"] = thaw(old["status"])
    kind.prepare_update(draft, old)
    errors = metadata_update_errors(kind, draft, old) + kind.validate_update(draft, old)
    return draft, [error.cause() for error in errors]


def _changed(update: Update) -> Object:
    if not update.patch:
        return thaw(update.request)
    if "strategic" in update.patch:
        return apply_strategic_patch(definitions().schema(update.kind.definition), update.old, update.request)
    return apply_merge_patch(update.old, update.request)


def _keep_metadata(draft: Object, old: Object) -> None:
    meta, before = draft.setdefault("metadata", {}), old["metadata"]
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "namespace"):
        if before.get(name) is not None:
            meta.setdefault(name, before[name])
    meta["resourceVersion"] = before.get("resourceVersion") or "1"
    meta["generation"] = before.get("generation", 0)
    if not meta["generation"]:
        del meta["generation"]


def grade(update: Update) -> list[str]:
    """The differences between what was recorded and what the kind makes of the request."""
    draft, causes = run(update)
    if update.status == 422:
        wanted = (update.answer.get("details") or {}).get("causes") or []
        return difference(_without_diffs(plain(wanted)), _without_diffs(plain(causes)))
    if causes:
        return [f"refused: {causes}"]
    case = Case(update.id, update.kind, "", update.request, update.status, update.answer)
    return difference(comparable(update.answer, case), comparable(draft, case))


def _without_diffs(causes: list[Object]) -> list[Object]:
    """Pods and volumes: messages up to the line break, after which a diff of Go objects follows."""
    return [{**cause, "message": _cut(cause["message"])} for cause in causes]


def _cut(message: str) -> str:
    if "may not change fields other than" in message or "persistentvolumesource" in message:
        return message.split("\n")[0].removesuffix(" <go diff>")
    return message


if __name__ == "__main__":
    import sys
    import traceback

    total = good = 0
    for one in updates(*[a for a in sys.argv[1:] if not a.startswith("-")]):
        total += 1
        lines: list[Any]
        try:
            lines = grade(one)
        except Exception:
            lines = [traceback.format_exc(limit=-2)]
        good += not lines
        if lines and "-v" in sys.argv:
            print(one.id)
            for line in lines[:5]:
                print("   ", str(line)[:400])
    print(f"{good}/{total}")
