"""URLs as Go's ``net/url`` takes them apart, and what it says of those that are none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minikube_py.machinery.errors import go_quote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USER = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*\Z")
_NOT_IN_HOSTS = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"%-]", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GoUrl:
    """The parts of a URL; ``user`` is None without one."""

    scheme: str = ""
    user: str | None = None
    host: str = ""
    query: str = ""
    fragment: str = ""


def parse_url(text: str) -> GoUrl | str:
    """The parts of a URL (``url.Parse``), or what is wrong with it."""
    rest, _, fragment = text.partition("#")
    try:
        scheme, rest = _split_scheme(rest)
        rest, _, query = rest.partition("?")
        user, host = _authority(scheme, rest)
    except ValueError as problem:
        return f"parse {go_quote(text.partition('#')[0])}: {problem}"
    return GoUrl(scheme.lower(), user, host, query, fragment)


def _split_scheme(text: str) -> tuple[str, str]:
    if _CONTROL.search(text):
        raise ValueError("net/url: invalid control character in URL")
    scheme, colon, rest = text.partition(":")
    if colon and not scheme:
        raise ValueError("missing protocol scheme")
    return (scheme, rest) if colon and _SCHEME.match(scheme) else ("", text)


def _authority(scheme: str, rest: str) -> tuple[str | None, str]:
    """The user and the host."""
    if not rest.startswith("/"):
        if not scheme and ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
        return None, ""
    user, host, path = None, "", rest
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        found, slash, path = rest[2:].partition("/")
        path = slash + path
        named, at, host = found.rpartition("@")
        user = named if at else None
        if not _USER.match(named):
            raise ValueError("net/url: invalid userinfo")
        _check_host(host)
    escape = _BAD_ESCAPE.search(path)
    if escape:
        raise ValueError(f"invalid URL escape {go_quote(escape.group())}")
    return user, host


def _check_host(host: str) -> None:
    if host.startswith("["):
        if "]" not in host:
            raise ValueError("missing ']' in host")
        port = host.rpartition("]")[2]
    else:
        port = host[host.rfind(":") :] if ":" in host else ""
    if port and not re.fullmatch(r":[0-9]*", port):
        raise ValueError(f"invalid port {go_quote(port)} after host")
    odd = _NOT_IN_HOSTS.search(host)
    if odd and odd.group() < "\x80":
        raise ValueError(f"invalid character {go_quote(odd.group())} in host name")
    escape = _BAD_ESCAPE.search(host)
    if escape:
        raise ValueError(f"invalid URL escape {go_quote(escape.group())}")
