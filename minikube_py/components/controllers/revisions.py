"""ControllerRevisions: the history of DaemonSets and StatefulSets (``pkg/controller/history``).

A revision holds a patch of the owner's ``spec.template`` in the form that ``kubectl rollout undo``
applies. Equal data share a revision; going back to an old one gives it the newest number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from minikube_py.client.types import Informer
from minikube_py.components.controllers.claims import claim
from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.components.controllers.pods import orphans, owned
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.hashes import fnv32a, safe_encode
from minikube_py.machinery.objects import Object, labels_of, name_of, namespace_of, thaw
from minikube_py.machinery.owners import owner_reference
from minikube_py.machinery.resources import CONTROLLER_REVISIONS, Resource
from minikube_py.machinery.selectors import selector_from_label_selector

HASH = "controller-revision-hash"
LEGACY_HASH = "controller.kubernetes.io/hash"


def template_patch(owner: Object) -> Object:
    """The data of the owner's present revision."""
    template = thaw(owner["spec"].get("template") or {})
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def revision_hash(data: Object, collisions: int | None) -> str:
    text = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    if collisions:
        text += str(collisions).encode()
    return safe_encode(str(fnv32a(text)))


def number_of(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def apply_revision(owner: Object, revision: Object) -> Object:
    """The owner's template at a revision."""
    template = thaw((revision.get("data") or {}).get("spec", {}).get("template") or {})
    template.pop("$patch", None)
    result: Object = template
    return result


async def claim_revisions(kit: Kit, informer: Informer, owner: Object, resource: Resource) -> list[Object]:
    """The owner's revisions, oldest number first."""
    selector = selector_from_label_selector(owner["spec"].get("selector"))
    found = await claim(
        kit,
        owner=owner,
        owner_resource=resource,
        child_resource=CONTROLLER_REVISIONS,
        candidates=[*owned(informer, owner), *orphans(informer, namespace_of(owner))],
        matches=lambda revision: selector.matches(labels_of(revision)),
    )
    return sorted(found, key=lambda revision: (number_of(revision), name_of(revision)))


async def present_revision(
    kit: Kit, owner: Object, resource: Resource, revisions: Sequence[Object], collisions: int | None
) -> tuple[Object, int]:
    """(the revision of the owner's present template, the collision count to note). Creates it if need be."""
    data = template_patch(owner)
    newest = number_of(revisions[-1]) if revisions else 0
    equal = [revision for revision in revisions if revision.get("data") == data]
    if equal:
        found = equal[-1]
        if number_of(found) < newest:
            draft = {**found, "revision": newest + 1}
            found = await kit.client.update(CONTROLLER_REVISIONS, draft, namespace_of(owner), options=WRITE)
        return found, collisions or 0
    count = collisions or 0
    while True:
        draft = _draft(owner, resource, data, newest + 1, count)
        try:
            made = await kit.client.create(CONTROLLER_REVISIONS, draft, namespace_of(owner), options=WRITE)
        except ApiError as error:
            if not is_already_exists(error):
                raise
            there = await kit.client.get(CONTROLLER_REVISIONS, name_of(draft), namespace_of(owner))
            if there.get("data") == data:
                return there, count
            count += 1
            continue
        return made, count


def _draft(owner: Object, resource: Resource, data: Object, number: int, collisions: int) -> Object:
    value = revision_hash(data, collisions)
    labels: dict[str, Any] = {**labels_of(owner["spec"].get("template") or {}), HASH: value}
    if resource.kind == "StatefulSet":
        labels = {**labels_of(owner["spec"].get("template") or {}), LEGACY_HASH: value}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{name_of(owner)}-{value}",
            "namespace": namespace_of(owner),
            "labels": labels,
            "annotations": thaw((owner.get("metadata") or {}).get("annotations") or {}),
            "ownerReferences": [owner_reference(owner, resource.api_version, resource.kind)],
        },
        "data": data,
        "revision": number,
    }


async def trim_revisions(kit: Kit, owner: Object, revisions: Sequence[Object], in_use: set[str]) -> None:
    """Delete unused revisions beyond ``revisionHistoryLimit``, oldest first."""
    limit = owner["spec"].get("revisionHistoryLimit")
    spare = [revision for revision in revisions if name_of(revision) not in in_use]
    for revision in spare[: max(0, len(spare) - (10 if limit is None else int(limit)))]:
        try:
            await kit.client.delete(CONTROLLER_REVISIONS, name_of(revision), namespace_of(revision))
        except ApiError as error:
            if not is_not_found(error):
                raise
