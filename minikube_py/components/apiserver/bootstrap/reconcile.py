"""Creates the bootstrap objects that are missing and mends those that opted in to updates.

Runs at every start of a server. When nothing is missing it costs one list for each resource; an empty
store gets all its objects at once, so that the datastore's group commit writes them in few batches.
Same rules as ``registry/rbac/reconciliation`` (rules and subjects are only added, never taken away) and
``registry/flowcontrol/ensurer``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.client.types import Client, WriteOptions
from minikube_py.components.apiserver.authorization.rules import compact, compile_rules, rule_object, uncovered
from minikube_py.components.apiserver.bootstrap.policy import (
    FLOW_AUTOUPDATE,
    FLOW_SCHEMAS,
    PRIORITY_LEVELS,
    RBAC_AUTOUPDATE,
    Section,
    bootstrap_sections,
)
from minikube_py.machinery.errors import ApiError, is_already_exists, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, annotations_of, key_of, name_of, namespace_of, thaw
from minikube_py.machinery.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource

log = logging.getLogger(__name__)

_OPTIONS = WriteOptions(field_manager="kube-apiserver")
_FLOW_OPTIONS = WriteOptions(field_manager="api-priority-and-fairness-config-producer-v1")
attempts = 3

Mend = Callable[[Object, Object], bool]
"""Brings a private copy of the live object up to the wanted one; returns whether that changed it."""


async def ensure_bootstrap(client: Client) -> None:
    """Reconcile all bootstrap objects. ``client`` must act as a member of system:masters. Raises ApiError."""
    namespaces, *others = bootstrap_sections()
    await _ensure_section(client, namespaces)
    async with asyncio.TaskGroup() as group:
        for section in others:
            group.create_task(_ensure_section(client, section))


async def _ensure_section(client: Client, section: Section) -> None:
    live = {key_of(obj): obj for obj in (await client.list(section.resource)).items}
    async with asyncio.TaskGroup() as group:
        for wanted in section.objects:
            found = live.get(key_of(wanted))
            if found is None:
                group.create_task(_create(client, section.resource, wanted))
            elif _mended(section.resource, found, wanted) is not None:
                group.create_task(_mend(client, section.resource, wanted))


async def _create(client: Client, resource: Resource, wanted: Object) -> None:
    try:
        await client.create(resource, thaw(wanted), namespace_of(wanted) or None, options=_options(resource))
    except ApiError as error:
        if not is_already_exists(error):  # another server was faster
            raise


async def _mend(client: Client, resource: Resource, wanted: Object) -> None:
    namespace = namespace_of(wanted) or None
    for attempt in range(1, attempts + 1):
        try:
            live = await client.get(resource, name_of(wanted), namespace)
            draft = _mended(resource, live, wanted)
            if draft is not None:
                log.info("updating bootstrap object %s %s", resource.qualified, key_of(wanted))
                await client.update(resource, draft, namespace, options=_options(resource))
            return
        except ApiError as error:
            if is_not_found(error):
                await _create(client, resource, wanted)
                return
            if not is_conflict(error) or attempt == attempts:
                raise


def _options(resource: Resource) -> WriteOptions:
    return _FLOW_OPTIONS if resource in (FLOW_SCHEMAS, PRIORITY_LEVELS) else _OPTIONS


def _mended(resource: Resource, live: Object, wanted: Object) -> Object | None:
    """The live object with what it lacks, or None when it lacks nothing or opted out."""
    mends: dict[Resource, tuple[str, Mend]] = {
        CLUSTER_ROLES: (RBAC_AUTOUPDATE, mend_role),
        ROLES: (RBAC_AUTOUPDATE, mend_role),
        CLUSTER_ROLE_BINDINGS: (RBAC_AUTOUPDATE, mend_binding),
        ROLE_BINDINGS: (RBAC_AUTOUPDATE, mend_binding),
        FLOW_SCHEMAS: (FLOW_AUTOUPDATE, mend_flow_control),
        PRIORITY_LEVELS: (FLOW_AUTOUPDATE, mend_flow_control),
    }
    annotation, mend = mends.get(resource, ("", None))
    if mend is None or annotations_of(live).get(annotation) != "true":
        return None
    draft = thaw(live)
    return draft if mend(draft, wanted) else None


def mend_role(draft: Object, wanted: Object) -> bool:
    """Add missing labels, annotations and rules; the rules of an aggregated role belong to its controller."""
    changed = _mend_metadata(draft, wanted)
    if "aggregationRule" in wanted:
        if not contains(draft.get("aggregationRule") or {}, wanted["aggregationRule"]):
            draft["aggregationRule"] = thaw(wanted["aggregationRule"])
            changed = True
        return changed
    missing = uncovered(compile_rules(draft.get("rules")), compile_rules(wanted["rules"]))
    if missing:
        draft["rules"] = [*(draft.get("rules") or ()), *(rule_object(rule) for rule in compact(missing))]
    return changed or bool(missing)


def mend_binding(draft: Object, wanted: Object) -> bool:
    """Add missing labels, annotations and subjects. A binding to another role is the administrator's."""
    if draft.get("roleRef") != wanted["roleRef"]:
        return False
    changed = _mend_metadata(draft, wanted)
    subjects = draft.get("subjects") or []
    missing = [
        subject for subject in wanted.get("subjects", ()) if not any(contains(item, subject) for item in subjects)
    ]
    if missing:
        draft["subjects"] = [*subjects, *thaw(missing)]
    return changed or bool(missing)


def mend_flow_control(draft: Object, wanted: Object) -> bool:
    """Put the wanted spec in place of one that lacks parts of it."""
    if contains(draft.get("spec") or {}, wanted["spec"]):
        return False
    draft["spec"] = thaw(wanted["spec"])
    return True


def _mend_metadata(draft: Object, wanted: Object) -> bool:
    changed = False
    for field in ("labels", "annotations"):
        ours: Mapping[str, str] = wanted["metadata"].get(field) or {}
        missing = {key: value for key, value in ours.items() if key not in (draft["metadata"].get(field) or {})}
        if missing:
            draft["metadata"][field] = {**(draft["metadata"].get(field) or {}), **missing}
            changed = True
    return changed


def contains(live: Any, wanted: Any) -> bool:
    """Whether live data says all that is wanted; further keys (defaults of the server) are fine."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live and contains(live[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(contains, live, wanted))
    return bool(live == wanted)
