"""Who asks, as aggregated servers are told it."""

from __future__ import annotations

from urllib.parse import quote

from minikube_py.components.apiserver.types import UserInfo


def identity_headers(user: UserInfo) -> list[tuple[str, str]]:
    """Who asks, for a server that believes the request-header certificate."""
    headers = [("X-Remote-User", user.name)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    headers += [("X-Remote-Group", group) for group in user.groups]
    for name, values in user.extra.items():
        # Keys of extra fields are case-insensitive header names; other characters are percent-encoded.
        headers += [(f"X-Remote-Extra-{quote(name, safe='')}", value) for value in values]
    return headers
