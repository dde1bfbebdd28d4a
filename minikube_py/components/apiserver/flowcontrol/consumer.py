"""Follows FlowSchemas and PriorityLevelConfigurations: configures flow control and writes ``Dangling`` conditions.

In: both informers. Out: ``FlowControl.configure`` at every change, a status for each FlowSchema that says whether
its level exists (``flowcontrol/apf_controller.go``, with its field manager), and the mandatory objects, made anew
when somebody deletes them. Wakes on changes alone. Where the mandatory objects are missing from the store they hold
all the same, so there is always a schema that takes a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.client.types import Client, EventType, PatchType, WriteOptions
from minikube_py.components.apiserver.bootstrap.policy import FLOW_SCHEMAS, PRIORITY_LEVELS
from minikube_py.components.apiserver.flowcontrol.control import FlowControl
from minikube_py.components.apiserver.flowcontrol.level import read_limits
from minikube_py.components.apiserver.flowcontrol.schemas import compile_schema
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

_APPLY = WriteOptions(field_manager="api-priority-and-fairness-config-consumer-v1", force=True)
_CREATE = WriteOptions(field_manager="api-priority-and-fairness-config-producer-v1")
_RETRY_SECONDS = 5.0


async def run_consumer(
    client: Client, control: FlowControl, clock: Clock, mandatory: Mapping[Resource, Sequence[Object]]
) -> None:
    """Run until cancelled. ``client`` acts as a member of system:masters; ``mandatory`` always hold."""
    changed = asyncio.Event()
    schemas, levels = client.informer(FLOW_SCHEMAS), client.informer(PRIORITY_LEVELS)

    def wake(kind: EventType, obj: Object, old: Object | None) -> None:
        # Writing our own condition must not start another round of compiling.
        if old is None or kind is EventType.DELETED or old.get("spec") != obj.get("spec") or _condition(obj) is None:
            changed.set()

    endings: list[Callable[[], None]] = [schemas.subscribe(wake), levels.subscribe(wake)]
    try:
        await schemas.synced()
        await levels.synced()
        changed.set()
        while True:
            await changed.wait()
            changed.clear()
            shown = _merged(schemas.list(), mandatory.get(FLOW_SCHEMAS, ()))
            limits = _merged(levels.list(), mandatory.get(PRIORITY_LEVELS, ()))
            control.configure(map(compile_schema, shown.values()), map(read_limits, limits.values()))
            try:
                await _restore(client, mandatory, {FLOW_SCHEMAS: schemas.list(), PRIORITY_LEVELS: levels.list()})
                await _report(client, schemas.list(), limits.keys(), clock)
            except ApiError as error:
                log.warning("flow control status not written; trying again", extra={"error": str(error)})
                await clock.sleep(_RETRY_SECONDS)
                changed.set()
    finally:
        for end in endings:
            end()


def _merged(found: Sequence[Object], mandatory: Sequence[Object]) -> dict[str, Object]:
    return {name_of(obj): obj for obj in (*mandatory, *found)}


async def _restore(
    client: Client, mandatory: Mapping[Resource, Sequence[Object]], found: Mapping[Resource, Sequence[Object]]
) -> None:
    for resource, objects in mandatory.items():
        names = {name_of(obj) for obj in found[resource]}
        for obj in objects:
            if name_of(obj) not in names:
                try:
                    await client.create(resource, obj, options=_CREATE)
                except ApiError as error:
                    if not is_already_exists(error):
                        raise


async def _report(client: Client, schemas: Sequence[Object], levels: object, clock: Clock) -> None:
    for schema in schemas:
        condition = _wanted(schema, levels)
        live = _condition(schema)
        if live is not None and all(live.get(field) == value for field, value in condition.items()):
            continue
        same = live is not None and live.get("status") == condition["status"]
        moment = live["lastTransitionTime"] if live is not None and same else rfc3339(clock.now())
        patch: Object = {
            "apiVersion": FLOW_SCHEMAS.api_version,
            "kind": FLOW_SCHEMAS.kind,
            "metadata": {"name": name_of(schema)},
            "status": {"conditions": [{**condition, "lastTransitionTime": moment}]},
        }
        try:
            await client.patch(
                FLOW_SCHEMAS,
                name_of(schema),
                patch,
                patch_type=PatchType.APPLY,
                subresource="status",
                options=_APPLY,
            )
        except ApiError as error:
            if not (is_not_found(error) or is_conflict(error)):
                raise


def _condition(schema: Object) -> Mapping[str, Any] | None:
    conditions: Sequence[Mapping[str, Any]] = (schema.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == "Dangling"), None)


def _wanted(schema: Object, levels: Any) -> dict[str, str]:
    level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
    text = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if level in levels:
        return {"type": "Dangling", "status": "False", "reason": "Found", "message": f"{text} and it exists"}
    message = f"{text} but there is no such object"
    return {"type": "Dangling", "status": "True", "reason": "NotFound", "message": message}
