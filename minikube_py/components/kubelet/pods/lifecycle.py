"""The life of a pod on its node: the stages and which may follow which.

SYNC          containers are started, restarted and watched.
              Left when the pod is deleted, evicted, past its deadline, or has finished by itself.
TERMINATING   no container is started any more; those that run are ended within the grace.
              Left when no container runs and the sandbox is stopped.
TERMINATED    nothing runs; volumes and cgroup are taken away; the final status is written; a
              deleted pod is removed from the API. A pod that finished stays here (for its logs)
              until it is deleted.
GONE          nothing of the pod is left on the node; its worker ends.

There is no way back: a pod that has begun to end never runs again.
"""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    SYNC = "sync"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    GONE = "gone"


_NEXT: dict[Stage, frozenset[Stage]] = {
    Stage.SYNC: frozenset({Stage.TERMINATING}),
    Stage.TERMINATING: frozenset({Stage.TERMINATED}),
    Stage.TERMINATED: frozenset({Stage.GONE}),
    Stage.GONE: frozenset(),
}


class IllegalMove(Exception):
    """A stage was to be followed by one that may not follow it: a broken promise of this package."""


def advance(stage: Stage, following: Stage) -> Stage:
    """Return ``following`` if it may come after ``stage``. Raises IllegalMove."""
    if following not in _NEXT[stage]:
        raise IllegalMove(f"{stage.value} -> {following.value}")
    return following
