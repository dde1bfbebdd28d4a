"""Cron schedules: what ``github.com/robfig/cron`` accepts, and why it refuses the rest."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from functools import lru_cache

_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_MONTHS = {
    name: index
    for index, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: index for index, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}


@lru_cache(maxsize=64)
def zone_exists(zone: str) -> bool:
    if zone in ("", "UTC", "Local"):
        return True
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Bounds:
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (_Bounds(0, 59, {}), _Bounds(0, 23, {}), _Bounds(1, 31, {}), _Bounds(1, 12, _MONTHS), _Bounds(0, 6, _DAYS))


def schedule_error(schedule: str) -> str | None:
    """Why the schedule does not parse (``cron.ParseStandard``); None when it does."""
    if not schedule:
        return "empty spec string"
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        place, _, schedule = schedule.partition("=")[2].partition(" ")
        if not zone_exists(place):
            return f"provided bad location {place}: unknown time zone {place}"
        schedule = schedule.strip()
    if schedule.startswith("@"):
        if schedule in _DESCRIPTORS:
            return None
        if schedule.startswith("@every "):
            return (
                None
                if _is_duration(schedule.removeprefix("@every "))
                else (
                    f'failed to parse duration {schedule}: time: invalid duration "{schedule.removeprefix("@every ")}"'
                )
            )
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for text, bounds in zip(fields, _FIELDS, strict=True):
        for part in text.replace("?", "*").split(","):
            wrong = _range_error(part, bounds)
            if wrong is not None:
                return wrong
    return None


def _is_duration(text: str) -> bool:
    rest = text.lstrip("+-")
    if rest == "0":
        return True
    number = ""
    while rest:
        unit = next((u for u in ("ns", "us", "µs", "ms", "h", "m", "s") if rest.startswith(u)), None)
        if unit is not None and number:
            rest, number = rest.removeprefix(unit), ""
        elif rest[0].isdigit() or rest[0] == ".":
            number, rest = number + rest[0], rest[1:]
        else:
            return False
    return not number and bool(text)


def _range_error(expression: str, bounds: _Bounds) -> str | None:
    span, *step = expression.split("/")
    ends = span.split("-")
    if ends[0] == "*":
        low, high = bounds.low, bounds.high
    else:
        parsed = [_number(end, bounds) for end in ends[:2]]
        wrong = next((value for value in parsed if isinstance(value, str)), None)
        if wrong is not None:
            return wrong
        if len(ends) > 2:
            return f"too many hyphens: {expression}"
        low, high = int(parsed[0]), int(parsed[-1])
        if step and len(ends) == 1:
            high = bounds.high
    if len(step) > 1:
        return f"too many slashes: {expression}"
    every = _number(step[0], _Bounds(0, 0, {})) if step else 1
    if isinstance(every, str):
        return every
    return _bounds_error(expression, low, high, every, bounds)


def _bounds_error(expression: str, low: int, high: int, every: int, bounds: _Bounds) -> str | None:
    if low < bounds.low:
        return f"beginning of range ({low}) below minimum ({bounds.low}): {expression}"
    if high > bounds.high:
        return f"end of range ({high}) above maximum ({bounds.high}): {expression}"
    if low > high:
        return f"beginning of range ({low}) beyond end of range ({high}): {expression}"
    return f"step of range should be a positive number: {expression}" if every == 0 else None


def _number(text: str, bounds: _Bounds) -> int | str:
    """The number, or why it is none."""
    named = bounds.names.get(text.lower())
    if named is not None:
        return named
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
    return int(text) if int(text) >= 0 else f"negative number ({int(text)}) not allowed: {text}"
