"""Reads bootstrap token Secrets (``cluster-bootstrap/util/secrets``): pure functions."""

from __future__ import annotations

import base64
import binascii
import re

from minikube_py.machinery.objects import Object, is_deleting, name_of
from minikube_py.machinery.times import parse_time

SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
_NAME = re.compile(r"bootstrap-token-([a-z0-9]{6})")


def field_of(secret: Object, key: str) -> str:
    """An entry as text; empty when it is missing or unreadable."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def expiry_of(secret: Object) -> float | None:
    """When the token ends (Unix seconds); 0 for a time that cannot be read, None for a token without end."""
    text = field_of(secret, "expiration")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return 0.0


def signing_token(secret: Object, now: float) -> tuple[str, str] | None:
    """Id and secret of a token that may sign ``cluster-info`` now."""
    found = _NAME.fullmatch(name_of(secret))
    if found is None or secret.get("type") != SECRET_TYPE or is_deleting(secret):
        return None
    identifier, password = field_of(secret, "token-id"), field_of(secret, "token-secret")
    if identifier != found[1] or not password or field_of(secret, "usage-bootstrap-signing") != "true":
        return None
    end = expiry_of(secret)
    return (identifier, password) if end is None or end > now else None
