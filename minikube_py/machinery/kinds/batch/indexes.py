"""Lists of indexes of an indexed Job, such as "0,2-5", as its policies and its status write them."""

from __future__ import annotations

import re

from minikube_py.machinery.errors import go_quote

_NUMBER = re.compile(r"[+-]?[0-9]+\Z")


class IndexesError(ValueError):
    """The text is no list of increasing intervals below the number of completions."""


def intervals(text: str, completions: int) -> list[tuple[int, int]]:
    """The intervals of the text, first and last index of each; ``IndexesError`` says what is wrong."""
    found: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        first, last = interval(part, completions)
        if found and found[-1][1] >= first:
            raise IndexesError(_order(found[-1][1], first))
        found.append((first, last))
    return found


def interval(text: str, completions: int) -> tuple[int, int]:
    ends = text.split("-")
    if len(ends) > 2:
        raise IndexesError(
            f"the fragment {go_quote(text)} violates the requirement that an index interval can have at most "
            "two parts separated by '-'"
        )
    first = _index(ends[0], completions)
    if len(ends) == 1:
        return first, first
    last = _index(ends[1], completions)
    if first >= last:
        raise IndexesError(_order(first, last))
    return first, last


def _index(text: str, completions: int) -> int:
    if not _NUMBER.match(text):
        raise IndexesError(f"cannot convert string to integer for index: {go_quote(text)}")
    if int(text) >= completions:
        raise IndexesError(f"too large index: {go_quote(text)}")
    return int(text)


def _order(previous: int, current: int) -> str:
    return f"non-increasing order, previous: {previous}, current: {current}"


def overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index that both lists name; what cannot be read is passed over."""
    done, lost = _readable(completed, completions), _readable(failed, completions)
    at = 0
    for first, last in done:
        while at < len(lost) and lost[at][1] < first:
            at += 1
        if at < len(lost) and lost[at][0] <= last:
            return max(first, lost[at][0])
    return None


def _readable(text: str, completions: int) -> list[tuple[int, int]]:
    found = []
    for part in text.split(",") if text else ():
        try:
            found.append(interval(part, completions))
        except IndexesError:
            continue
    return found
