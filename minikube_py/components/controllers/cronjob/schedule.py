"""Cron schedules in the form that Kubernetes takes (robfig/cron's standard parser); pure.

Five fields (minute, hour, day of month, month, day of week), names of months and days, ``*``, ``?``,
lists, ranges, steps, ``@hourly`` and its kin, ``@every 1h30m``. When both day fields are restricted
a day that matches either is taken. Local times that a clock change skips do not occur.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

most_years_ahead = 5
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(_DAY_NAMES)}
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. ``every`` (seconds) replaces the fields when it is positive."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = True
    any_weekday: bool = True
    every: float = 0.0
    zone: tzinfo = UTC

    def after(self, moment: float) -> float | None:
        """The first due time after ``moment`` (both Unix seconds); None when there is none for years."""
        if self.every:
            return float(int(moment)) + self.every
        local = datetime.fromtimestamp(moment, self.zone).replace(second=0, microsecond=0, tzinfo=None)
        local += timedelta(minutes=1)
        last_year = local.year + most_years_ahead
        while local.year <= last_year:
            if local.month not in self.months:
                local = _next_month(local)
            elif not self._day_fits(local):
                local = local.replace(hour=0, minute=0) + timedelta(days=1)
            elif local.hour not in self.hours:
                local = local.replace(minute=0) + timedelta(hours=1)
            elif local.minute not in self.minutes:
                local += timedelta(minutes=1)
            else:
                due = self._instant(local)
                if due is not None and due > moment:
                    return due
                local += timedelta(minutes=1)
        return None

    def _day_fits(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, (local.weekday() + 1) % 7 in self.weekdays
        return (day and weekday) if self.any_day or self.any_weekday else (day or weekday)

    def _instant(self, local: datetime) -> float | None:
        """The instant of a wall-clock time; None when a clock change skips it."""
        aware = local.replace(tzinfo=self.zone)
        seconds = aware.timestamp()
        return seconds if datetime.fromtimestamp(seconds, self.zone).replace(tzinfo=None) == local else None


def _next_month(local: datetime) -> datetime:
    first = local.replace(day=1, hour=0, minute=0)
    return first.replace(year=local.year + 1, month=1) if local.month == 12 else first.replace(month=local.month + 1)


@lru_cache(maxsize=512)
def parse_schedule(text: str, zone: str | None = None) -> Schedule:
    """Raises ValueError with the reason on a malformed schedule or an unknown zone."""
    found = re.match(r"(?:CRON_TZ|TZ)=(\S+)\s+(.*)", text)
    if found:
        zone, text = found[1], found[2]
    try:
        where: tzinfo = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {zone}") from error
    if text.startswith("@every "):
        return Schedule(every=max(1.0, float(int(_duration(text[len("@every ") :].strip())))), zone=where)
    text = _SHORTHANDS.get(text.strip(), text)
    if text.startswith("@"):
        raise ValueError(f"unrecognized descriptor: {text}")
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    return Schedule(
        _field(fields[0], 0, 59, {}),
        _field(fields[1], 0, 23, {}),
        _field(fields[2], 1, 31, {}),
        _field(fields[3], 1, 12, _MONTHS),
        _field(fields[4], 0, 6, _DAYS),
        any_day=_is_any(fields[2]),
        any_weekday=_is_any(fields[4]),
        zone=where,
    )


def _is_any(field: str) -> bool:
    return any(
        part.partition("/")[0] in ("*", "?") and part.partition("/")[2] in ("", "1") for part in field.split(",")
    )


def _field(field: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, {}) if slash else 1
        if step == 0:
            raise ValueError(f"step of range should be a positive number: {part}")
        if span in ("*", "?"):
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, names)
            last = _number(last_text, names) if dash else (high if slash else first)
        if first < low:
            raise ValueError(f"beginning of range ({first}) below minimum ({low}): {part}")
        if last > high:
            raise ValueError(f"end of range ({last}) above maximum ({high}): {part}")
        if first > last:
            raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {part}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        raise ValueError(f"failed to parse int from {text}")
    return int(text)


def _duration(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d*)?)(h|ms|us|µs|ns|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"failed to parse duration @every {text}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
