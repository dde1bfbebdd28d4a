"""Counting each pod of a Job exactly once, although pods may vanish at any time; pure.

A pod carries a finalizer until it is counted. In three steps, each safe to repeat after a crash:
its uid is written to ``uncountedTerminatedPods``; the finalizer is taken off; the uid is folded
into the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.components.controllers.pods import phase_of
from minikube_py.machinery.objects import Object, metadata, uid_of

TRACKING = "batch.kubernetes.io/job-tracking"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts including the uncounted, what the status shall carry, and pods to take the finalizer off."""

    succeeded: int
    failed: int
    counted_succeeded: int
    counted_failed: int
    uncounted_succeeded: tuple[str, ...]
    uncounted_failed: tuple[str, ...]
    release: tuple[Object, ...]


def is_tracked(pod: Object) -> bool:
    return TRACKING in (metadata(pod).get("finalizers") or ())


def tally(job: Object, pods: Sequence[Object], has_failed: Callable[[Object], bool], *, ignored: set[str]) -> Tally:
    """Account for the pods that have ended. ``ignored`` are uids that count neither way (pod failure policy)."""
    status = job.get("status") or {}
    before = status.get("uncountedTerminatedPods") or {}
    tracked = {uid_of(pod) for pod in pods if is_tracked(pod)}
    known_succeeded, known_failed = before.get("succeeded") or [], before.get("failed") or []
    folded_succeeded = [uid for uid in known_succeeded if uid not in tracked]
    folded_failed = [uid for uid in known_failed if uid not in tracked]
    succeeded = [uid for uid in known_succeeded if uid in tracked]
    failed = [uid for uid in known_failed if uid in tracked]
    noted = {*succeeded, *failed}
    release: list[Object] = []
    for pod in pods:
        uid = uid_of(pod)
        if uid not in tracked:
            continue
        if uid in noted or uid in ignored:
            release.append(pod)
        elif phase_of(pod) == "Succeeded":
            succeeded.append(uid)
        elif has_failed(pod):
            failed.append(uid)
    counted_succeeded = int(status.get("succeeded") or 0) + len(folded_succeeded)
    counted_failed = int(status.get("failed") or 0) + len(folded_failed)
    return Tally(
        counted_succeeded + len(succeeded),
        counted_failed + len(failed),
        counted_succeeded,
        counted_failed,
        tuple(succeeded),
        tuple(failed),
        tuple(release),
    )
