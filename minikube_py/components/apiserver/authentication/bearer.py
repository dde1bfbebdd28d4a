"""Where a request carries its bearer token: the Authorization header, or a subprotocol of a WebSocket.

Browsers cannot set headers on a WebSocket, so they send ``base64url.bearer.authorization.k8s.io.<token>`` beside the
subprotocol that they mean. Same rules as ``authentication/request/bearertoken`` and ``.../websocket``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from minikube_py.machinery.errors import unauthorized

PROTOCOL_PREFIX = "base64url.bearer.authorization.k8s.io."


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header; "" when there is none. Words behind the token mean nothing."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.partition(" ")[0] if scheme.lower() == "bearer" else ""


def token_of(headers: Mapping[str, str]) -> str:
    """The token of a request; "" when it has none. Raises ApiError (401) for a WebSocket's that cannot be read."""
    found = bearer_token(headers.get("Authorization", ""))
    if found or PROTOCOL_PREFIX not in headers.get("Sec-WebSocket-Protocol", "") or not _is_websocket(headers):
        return found
    offered = [part.strip() for part in headers["Sec-WebSocket-Protocol"].split(",")]
    tokens = [part.removeprefix(PROTOCOL_PREFIX) for part in offered if part.startswith(PROTOCOL_PREFIX)]
    if len(tokens) != 1 or len([part for part in offered if part]) < 2:
        raise unauthorized()  # two tokens, or a token and no subprotocol to answer with
    return _decoded(tokens[0])


def _decoded(text: str) -> str:
    """Unpadded base64url of UTF-8."""
    if "=" in text or not text.isascii():
        raise unauthorized()
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return data.decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise unauthorized() from error


def _is_websocket(headers: Mapping[str, str]) -> bool:
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in headers.get("Connection", "").lower()
