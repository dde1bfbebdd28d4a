"""Completion indexes of Indexed Jobs, and their text form ``1,3-5``; pure."""

from __future__ import annotations

from collections.abc import Iterable

from minikube_py.machinery.objects import Object, annotations_of

INDEX = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Object) -> int | None:
    """The pod's completion index; None when it has none."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def parse_indexes(text: str | None, completions: int) -> set[int]:
    """The set that a text like ``0,2-4`` stands for, below ``completions``; malformed parts are skipped."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            continue
        found.update(range(int(first), min(int(last or first) + 1, completions)))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """The text of a set: runs of three and more get a dash, pairs are written out."""
    parts: list[str] = []
    run: list[int] = []
    for index in [*sorted(indexes), -1]:
        if run and index == run[-1] + 1:
            run.append(index)
            continue
        if len(run) > 2:
            parts.append(f"{run[0]}-{run[-1]}")
        else:
            parts += map(str, run)
        run = [index]
    return ",".join(parts)


def pending_indexes(completions: int, taken: set[int], count: int) -> list[int]:
    """The first ``count`` indexes that nobody has taken."""
    found: list[int] = []
    for index in range(completions):
        if len(found) >= count:
            break
        if index not in taken:
            found.append(index)
    return found
