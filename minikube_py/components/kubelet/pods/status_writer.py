"""Writes one pod's status to the API: only what changed, the newest only, never backwards.

``post`` never waits; one task writes. A status that is superseded before it is written is skipped.
Failures are retried with back-off until the object is gone. ``flush`` returns when the API has the
last posted status (or the object is gone).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from minikube_py.client.types import Client, PatchType
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, metadata, name_of, namespace_of, resource_version_of, uid_of
from minikube_py.machinery.resources import PODS

log = logging.getLogger(__name__)

first_retry_seconds = 0.5
longest_retry_seconds = 30.0

_OWNED = (
    "phase",
    "message",
    "reason",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "observedGeneration",
)
_MERGED_LISTS = ("hostIPs", "podIPs")


def status_patch(old: Object, new: Object) -> Object:
    """The strategic merge patch that brings ``old`` to ``new``; empty when nothing differs.

    Only fields that the kubelet owns are touched; conditions are merged by type.
    """
    patch: Object = {}
    for key in _OWNED:
        before, after = old.get(key), new.get(key)
        if _same(before, after):
            continue
        if key in _MERGED_LISTS and before and after:
            # These lists merge by ip: without the directive an old address would stay.
            patch[key] = [{"$patch": "replace"}, *after]
        else:
            patch[key] = after
    known = {item.get("type"): item for item in old.get("conditions") or ()}
    changed = [
        _with_removals(known.get(item["type"]), item)
        for item in new.get("conditions") or ()
        if not _same(known.get(item["type"]), item)
    ]
    if changed:
        patch["conditions"] = changed
    return patch


def _with_removals(before: Object | None, after: Object) -> Object:
    """The new condition, with null for fields of the old one that are to go."""
    return {**{key: None for key in before or () if key not in after}, **after}


def _same(before: object, after: object) -> bool:
    """Equality that takes an absent, a null and an empty field as the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(_same(before.get(key), after.get(key)) for key in before.keys() | after.keys())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return before == after or (
        not before and not after and before is not False and after is not False and before != 0 and after != 0
    )


class StatusWriter:
    """The one writer of a pod's status. ``target`` is written by the pod's worker."""

    def __init__(self, client: Client, clock: Clock, took: Callable[[float], None]) -> None:
        """``took`` gets the seconds from a change of the status to the API's having it."""
        self._client = client
        self._clock = clock
        self._target: Object | None = None
        self._wanted: Object | None = None
        self._took = took
        self._wanted_since: float | None = None
        """When the oldest change was posted that the API does not have yet."""
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.gone = False
        """Whether the API object was found missing (or replaced by one with another uid)."""

    @property
    def known(self) -> Object:
        """The status that the API has, as far as is known."""
        found: Object = (self._target or {}).get("status") or {}
        return found

    @property
    def target(self) -> Object | None:
        return self._target

    def observe(self, obj: Object) -> None:
        """Take in a newer state of the API object (the mirror, for static pods)."""
        if self._target is None or uid_of(obj) != uid_of(self._target):
            self._target, self.gone = obj, False
        elif _version(obj) >= _version(self._target):
            self._target = obj
        self._changed.set()

    def post(self, status: Object) -> None:
        """Have this status written."""
        self._wanted = status
        if self._wanted_since is None:
            self._wanted_since = self._clock.monotonic()
        self._idle.clear()
        self._changed.set()

    def wake(self) -> None:
        """Look again: ``gone`` has been set by the worker."""
        self._changed.set()

    async def flush(self) -> None:
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        retry = first_retry_seconds
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write()
                retry = first_retry_seconds
            except ApiError as error:
                log.info("cannot write pod status", extra={"error": error.message})
                await self._clock.sleep(retry)
                retry = min(retry * 2, longest_retry_seconds)
                self._changed.set()

    async def _write(self) -> None:
        while self._wanted is not None and self._target is not None and not self.gone:
            wanted, target = self._wanted, self._target
            patch = status_patch(target.get("status") or {}, wanted)
            if patch and not await self._send(target, patch):
                break
            if patch and self._wanted_since is not None:
                self._took(self._clock.monotonic() - self._wanted_since)
            self._wanted_since = None
            if wanted is self._wanted:
                self._wanted = None
            elif self._wanted is not None:
                self._wanted_since = self._clock.monotonic()
        if self._wanted is None or self.gone:
            self._idle.set()

    async def _send(self, target: Object, patch: Object) -> bool:
        body: Object = {"metadata": {"uid": metadata(target).get("uid")}, "status": patch}
        try:
            answer = await self._client.patch(
                PODS,
                name_of(target),
                body,
                namespace_of(target),
                patch_type=PatchType.STRATEGIC,
                subresource="status",
            )
        except ApiError as error:
            # A conflict on a patch without a version means that the uid is another one's.
            if is_not_found(error) or is_conflict(error):
                self.gone = True
                return False
            raise
        if self._target is target or _version(answer) > _version(self._target or answer):
            self._target = answer
        return True


def _version(obj: Object) -> int:
    text = resource_version_of(obj)
    return int(text) if text.isdigit() else 0
