"""Keeps an APIService for each group version that this server answers itself (``autoregister``).

In: the table of kinds. Out: APIServices without a Service, labelled ``kube-aggregator.kubernetes.io/automanaged``
(``onstart`` for built-in groups, ``true`` for those of CustomResourceDefinitions, which go when the group version
goes), with the priorities of discovery and the condition Available. What somebody else has made is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from minikube_py.client.types import Client, EventType, WriteOptions
from minikube_py.components.apiserver.registry.kinds import Kinds, group_rank, version_rank
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, labels_of, name_of
from minikube_py.machinery.resources import API_SERVICES
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

LABEL = "kube-aggregator.kubernetes.io/automanaged"
ON_START, CUSTOM = "onstart", "true"
_SERVED_BY_AGGREGATOR = "apiregistration.k8s.io"
_RETRY_SECONDS = 5.0
_OPTIONS = WriteOptions(field_manager="kube-apiserver")


async def keep_local_services(client: Client, kinds: Kinds, clock: Clock) -> None:
    """Run until cancelled; wakes when kinds or APIServices change."""
    changed = asyncio.Event()
    changed.set()
    informer = client.informer(API_SERVICES)
    await informer.synced()
    kinds.on_change(changed.set)

    def seen(event: EventType, obj: Object, old: Object | None) -> None:
        if event is EventType.DELETED or (old is None and LABEL in labels_of(obj)):
            changed.set()

    end = informer.subscribe(seen)
    try:
        while True:
            await changed.wait()
            changed.clear()
            try:
                await _reconcile(client, wanted_services(kinds, clock.now()), informer.list())
            except ApiError as error:
                log.warning("local APIServices not written; trying again", extra={"error": str(error)})
                await clock.sleep(_RETRY_SECONDS)
                changed.set()
    finally:
        end()


def wanted_services(kinds: Kinds, now: float) -> dict[str, Object]:
    """The APIServices of everything that is served here, by name."""
    found: dict[str, Object] = {}
    for group in kinds.group_names():
        if group == _SERVED_BY_AGGREGATOR:
            continue
        label = ON_START if not group or kinds.has_builtin(group) else CUSTOM
        for version in kinds.versions(group):
            obj = _service(group, version, label, now)
            found[name_of(obj)] = obj
    return found


def _service(group: str, version: str, label: str, now: float) -> Object:
    condition = {
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
        "lastTransitionTime": rfc3339(now),
    }
    spec: Object = {
        "version": version,
        "groupPriorityMinimum": -group_rank(group)[0],
        "versionPriority": -version_rank(group, version)[0],
    }
    if group:
        spec["group"] = group
    return {
        "apiVersion": API_SERVICES.api_version,
        "kind": API_SERVICES.kind,
        "metadata": {"name": f"{version}.{group}", "labels": {LABEL: label}},
        "spec": spec,
        "status": {"conditions": [condition]},
    }


async def _reconcile(client: Client, wanted: Mapping[str, Object], present: object) -> None:
    found = {name_of(obj): obj for obj in present}  # type: ignore[attr-defined]
    work = [_create(client, obj) for name, obj in wanted.items() if name not in found]
    gone = [name for name, obj in found.items() if name not in wanted and labels_of(obj).get(LABEL) == CUSTOM]
    # All at once, so that the store writes them in few batches; what fails does not stop the others.
    outcomes = await asyncio.gather(*work, *(_delete(client, name) for name in gone), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _create(client: Client, obj: Object) -> None:
    try:
        made = await client.create(API_SERVICES, obj, options=_OPTIONS)
        await client.update(API_SERVICES, {**made, "status": obj["status"]}, subresource="status", options=_OPTIONS)
    except ApiError as error:
        if not (is_already_exists(error) or is_conflict(error) or is_not_found(error)):
            raise


async def _delete(client: Client, name: str) -> None:
    try:
        await client.delete(API_SERVICES, name)
    except ApiError as error:
        if not is_not_found(error):
            raise
