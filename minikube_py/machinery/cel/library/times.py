"""Timestamps and durations: parsing, printing, and their parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, member
from minikube_py.machinery.cel.types import DURATION, INT, STRING, TIMESTAMP
from minikube_py.machinery.cel.values import duration

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))"
)  # fmt: skip
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9,
          "h": 3600 * 10**9}  # fmt: skip
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")


def declare(table: Table) -> None:
    """Add the accessors of timestamps and durations."""
    parts: tuple[tuple[str, str, Callable[[datetime], int]], ...] = (
        ("getFullYear", "year", lambda moment: moment.year),
        ("getMonth", "month", lambda moment: moment.month - 1),
        ("getDayOfYear", "day_of_year", lambda moment: moment.timetuple().tm_yday - 1),
        ("getDayOfMonth", "day_of_month", lambda moment: moment.day - 1),
        ("getDate", "day_of_month_1_based", lambda moment: moment.day),
        ("getDayOfWeek", "day_of_week", lambda moment: (moment.weekday() + 1) % 7),
        ("getHours", "hours", lambda moment: moment.hour),
        ("getMinutes", "minutes", lambda moment: moment.minute),
        ("getSeconds", "seconds", lambda moment: moment.second),
        ("getMilliseconds", "milliseconds", lambda moment: moment.microsecond // 1000),
    )
    for name, overload, part in parts:
        member(table, name, f"timestamp_to_{overload}", (TIMESTAMP,), INT, _utc(part))
        member(table, name, f"timestamp_to_{overload}_with_tz", (TIMESTAMP, STRING), INT, _zoned(part))
    for name, overload, unit in (("getHours", "hours", 3600 * 10**6), ("getMinutes", "minutes", 60 * 10**6),
                           ("getSeconds", "seconds", 10**6), ("getMilliseconds", "milliseconds", 1000)):  # fmt: skip
        member(table, name, f"duration_to_{overload}", (DURATION,), INT, _whole(unit))


def _utc(part: Callable[[datetime], int]) -> Callable[[datetime], int]:
    return lambda moment: part(moment.astimezone(UTC))


def _zoned(part: Callable[[datetime], int]) -> Callable[[datetime, str], int]:
    return lambda moment, zone: part(moment.astimezone(_zone(zone)))


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if match:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return UTC if name in ("", "UTC") else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _whole(unit: int) -> Callable[[timedelta], int]:
    def count(value: timedelta) -> int:
        total = value // timedelta(microseconds=1)
        return total // unit if total >= 0 else -(-total // unit)

    return count


def timestamp_of(text: str) -> datetime:
    """An RFC 3339 time; ``EvaluationError`` when it is none."""
    return _known_timestamp(text) if len(text) <= _REMEMBERED else _parse_timestamp(text)


def _parse_timestamp(text: str) -> datetime:
    match = _TIMESTAMP.fullmatch(text)
    if match is not None:
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        fraction = int((match[7] or "0")[:6].ljust(6, "0"))
        zone: tzinfo = UTC
        if match[9]:
            offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
            zone = timezone(-offset if match[9] == "-" else offset)
        try:
            return datetime(year, month, day, hour, minute, second, fraction, zone)
        except ValueError:
            pass
    raise EvaluationError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')


def duration_of(text: str) -> timedelta:
    """A duration as Go writes them (``1h30m``); ``EvaluationError`` when it is none."""
    return _known_duration(text) if len(text) <= _REMEMBERED else _parse_duration(text)


def _parse_duration(text: str) -> timedelta:
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return timedelta()
    total, at = 0, 0
    for match in _DURATION_PART.finditer(body):
        if match.start() != at:
            break
        at = match.end()
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        total += int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if not body or at != len(body):
        raise EvaluationError(f'time: invalid duration "{text}"')
    if total > (1 << 63) - 1:
        raise EvaluationError(f'time: invalid duration "{text}"')
    return duration(timedelta(microseconds=-total / 1000 if text.startswith("-") else total / 1000))


_REMEMBERED = 64
"""Longer texts are parsed anew each time. A field is looked at by its format and by each rule that reads it."""
_known_timestamp = lru_cache(maxsize=512)(_parse_timestamp)
_known_duration = lru_cache(maxsize=512)(_parse_duration)


def go_duration(value: timedelta) -> str:
    """A duration as CEL's ``string()`` writes it: in seconds."""
    micro = value // timedelta(microseconds=1)
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    seconds, fraction = divmod(micro, 10**6)
    shown = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{sign}{seconds}{shown}s"


def rfc3339(value: datetime) -> str:
    """A timestamp as ``string()`` writes it."""
    fraction = f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
    offset = value.utcoffset() or timedelta()
    zone = "Z" if not offset else f"{value:%z}"[:3] + ":" + f"{value:%z}"[3:5]
    return f"{value.year:04d}-{value:%m-%dT%H:%M:%S}{fraction}{zone}"
