"""Timestamps of API objects: RFC 3339 text (``Time`` and ``MicroTime``) to and from Unix seconds.

Texts and errors are those of Go's ``time`` package as ``k8s.io/apimachinery/pkg/apis/meta/v1`` uses it.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from functools import lru_cache

_PATTERN = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)",
    re.ASCII,
)
_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def rfc3339(seconds: float) -> str:
    """``2026-11-21T06:20:13Z``: whole seconds, rounded down, UTC."""
    return _second_text(int(seconds // 1))


def rfc3339_micro(seconds: float) -> str:
    """``2026-11-21T06:20:13.000000Z``, as ``MicroTime`` is written."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second_text(whole)[:-1]}.{micro:06d}Z"


def parse_time(text: str, *, micro: bool = False) -> float:
    """Unix seconds of an RFC 3339 time; ValueError with Go's text when it is not one.

    ``micro`` reads a ``MicroTime``: exactly six digits after the seconds.
    """
    found = _PATTERN.fullmatch(text)
    if found is None or (micro and len(found[7] or "") != 6):
        raise ValueError(_explain(text, _MICRO_LAYOUT if micro else _LAYOUT))
    year, month, day, hour, minute, second = (int(found[index]) for index in range(1, 7))
    if not 1 <= month <= 12:
        raise ValueError(f'parsing time "{text}": month out of range')
    if not 1 <= day <= _days(year, month):
        raise ValueError(f'parsing time "{text}": day out of range')
    for value, limit, name in ((hour, 24, "hour"), (minute, 60, "minute"), (second, 60, "second")):
        if value >= limit:
            raise ValueError(f'parsing time "{text}": {name} out of range')
    whole = timegm((year, month, day, hour, minute, second, 0, 0, 0))
    zone = found[8]
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        whole += offset if zone[0] == "-" else -offset
    return whole + float(f"0.{found[7]}") if found[7] else float(whole)


@lru_cache(maxsize=256)
def _second_text(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(whole))


def _days(year: int, month: int) -> int:
    if month == 2 and (year % 4 or (year % 100 == 0 and year % 400)):
        return 28
    return _MONTH_DAYS[month - 1]


_ELEMENTS = (
    (r"\d{4}", "2006"), ("-", "-"), (r"\d\d", "01"), ("-", "-"), (r"\d\d", "02"), ("T", "T"), (r"\d\d", "15"),
    (":", ":"), (r"\d\d", "04"), (":", ":"),
)  # fmt: skip
_SECONDS = ((r"\d\d(?:[.,]\d+)?", "05"), (r"Z|[+-]\d\d:\d\d", "Z07:00"))
_MICRO_SECONDS = ((r"\d\d", "05"), (r"[.,]\d{6}", ".000000"), (r"Z|[+-]\d\d:\d\d", "Z07:00"))


def _explain(text: str, layout: str) -> str:
    """Go's ``ParseError`` text: the first element of the layout that the rest does not fit."""
    rest = text
    for pattern, element in _ELEMENTS + (_MICRO_SECONDS if layout == _MICRO_LAYOUT else _SECONDS):
        found = re.compile(pattern, re.ASCII).match(rest)
        if found is None:
            return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"'
        rest = rest[found.end() :]
    return f'parsing time "{text}": extra text: "{rest}"'
