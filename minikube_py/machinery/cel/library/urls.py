"""Kubernetes' ``url`` library: Go's ``url.ParseRequestURI`` and the parts of its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import BOOL, STRING, Type, list_of, map_of, opaque

URL = opaque("kubernetes.URL")


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL."""

    scheme: str
    host: str
    path: str
    query: str
    type: Type = field(default=URL, compare=False, repr=False)


def declare(table: Table) -> None:
    """Add the library."""
    call(table, "url", "string_to_url", (STRING,), URL, url_of)
    call(table, "isURL", "is_url_string", (STRING,), BOOL, _is_url)
    for name, overload, part in (
        ("getScheme", "url_get_scheme", lambda url: url.scheme),
        ("getHost", "url_get_host", lambda url: url.host),
        ("getHostname", "url_get_hostname", _hostname),
        ("getPort", "url_get_port", _port),
        ("getEscapedPath", "url_get_escaped_path", lambda url: quote(url.path, safe="/%:@!$&'()*+,;=~-._")),
    ):
        member(table, name, overload, (URL,), STRING, part)
    member(table, "getQuery", "url_get_query", (URL,), map_of(STRING, list_of(STRING)), _query)


def url_of(text: str) -> Url:
    """An absolute URI or an absolute path; ``EvaluationError`` for anything else."""
    try:
        parts = urlsplit(text)
        port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
        wrong = bool(port) and not port.isdigit()
    except ValueError:
        wrong = True
    if wrong or not text or any(ord(char) < 0x20 or char in "\x7f " for char in text):
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    if not parts.scheme and not text.startswith("/"):
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return Url(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query)


def _is_url(text: str) -> bool:
    try:
        url_of(text)
    except EvaluationError:
        return False
    return True


def _hostname(url: Url) -> str:
    if url.host.startswith("["):
        return url.host[1:].partition("]")[0]
    return url.host.partition(":")[0]


def _port(url: Url) -> str:
    return url.host.rpartition("]")[2].partition(":")[2]


def _query(url: Url) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in parse_qsl(url.query, keep_blank_values=True):
        found.setdefault(key, []).append(value)
    return found
