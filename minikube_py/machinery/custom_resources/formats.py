"""Formats of strings that schemas of custom resources may demand (``strfmt``)."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.library.times import duration_of, timestamp_of
from minikube_py.machinery.names import dns1123_label_errors, dns1123_subdomain_errors

_MAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOST = re.compile(
    r"(?=.{1,255}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_MAC = re.compile(r"(?i)[0-9a-f]{2}(?:([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4,6})|(?:[0-9a-f]{4}\.){2,3}[0-9a-f]{4}")
_HEX_COLOR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_BYTE = r"\s*(?:[01]?\d{1,2}|2[0-4]\d|25[0-5])\s*"
_RGB_COLOR = re.compile(rf"rgb\({_BYTE},{_BYTE},{_BYTE}\)")
_SSN = re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}")
_CARD = re.compile(
    r"(?:4\d{12}(?:\d{3})?|5[1-5]\d{14}|6(?:011|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|(?:2131|1800|35\d{3})\d{11})"
)
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_UNITS = (
    "ns|nanoseconds?|nanos?|us|µs|microseconds?|micros?|ms|milliseconds?|millis?|s|seconds?|sec|m|minutes?|min|"
    "h|hours?|hr|d|days?|w|weeks?|wk"
)
_WORDED = re.compile(rf"\s*(?:\d+(?:\.\d+)?\s*(?:{_UNITS})\s*)+", re.IGNORECASE)


def _uuid(version: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}-?[0-9a-f]{{4}}-?[0-9a-f]{{12}}")


_UUIDS = {"uuid": _uuid("[0-9a-f]{4}"), "uuid3": _uuid("3[0-9a-f]{3}"), "uuid4": _uuid("4[0-9a-f]{3}"),
          "uuid5": _uuid("5[0-9a-f]{3}")}  # fmt: skip


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, EvaluationError):
            return False
        return True

    return test


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(text) and (bool(parts.scheme) or text.startswith("/")) and " " not in text


def _date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _parses(date.fromisoformat)(text)


def _duration(text: str) -> bool:
    return _parses(duration_of)(text) or _WORDED.fullmatch(text) is not None


def _byte(text: str) -> None:
    base64.b64decode(text, validate=True)


def _digits(text: str) -> str:
    return text.replace("-", "").replace(" ", "")


def _isbn10(text: str) -> bool:
    found = _digits(text)
    if not re.fullmatch(r"\d{9}[\dX]", found):
        return False
    return sum((10 - index) * (10 if char == "X" else int(char)) for index, char in enumerate(found)) % 11 == 0


def _isbn13(text: str) -> bool:
    found = _digits(text)
    if not re.fullmatch(r"\d{13}", found):
        return False
    return sum(int(char) * (3 if index % 2 else 1) for index, char in enumerate(found)) % 10 == 0


def _card(text: str) -> bool:
    found = _digits(text)
    if not _CARD.fullmatch(found):
        return False
    doubled = [int(char) * (2 if index % 2 else 1) for index, char in enumerate(reversed(found))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


_FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(_OBJECT_ID),
    "uri": _uri,
    "email": _matches(_MAIL),
    "hostname": _matches(_HOST),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": lambda text: "/" in text and _parses(lambda value: ipaddress.ip_network(value, strict=False))(text),
    "mac": _matches(_MAC),
    **{name: _matches(pattern) for name, pattern in _UUIDS.items()},
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _card,
    "ssn": _matches(_SSN),
    "hexcolor": _matches(_HEX_COLOR),
    "rgbcolor": _matches(_RGB_COLOR),
    "byte": _parses(_byte),
    "date": _date,
    "duration": _duration,
    "datetime": _parses(timestamp_of),
    "quantity": _matches(_QUANTITY),
    "k8sshortname": lambda text: not dns1123_label_errors(text),
    "k8slongname": lambda text: not dns1123_subdomain_errors(text),
}  # fmt: skip


def has_format(written: str, text: str) -> bool:
    """Whether a text has a format; every text has a format that is not known."""
    test = _FORMATS.get(written.replace("-", ""))
    return test is None or test(text)
