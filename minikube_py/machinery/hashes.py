"""Stable hashes for labels and names, in the alphabet that Kubernetes uses for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SAFE = "".join(_ALPHABET[code % len(_ALPHABET)] for code in range(256))


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """The text in the alphabet without vowels and look-alikes (``rand.SafeEncodeString``)."""
    return "".join(_SAFE[byte] for byte in text.encode())


def pod_template_hash(template: Mapping[str, Any], collision_count: int | None = None) -> str:
    """A label-safe hash of a pod template: equal for equal JSON data, whatever the order of keys.

    Kubernetes hashes Go's dump of its own structure, so its values differ; nothing but equality and
    the alphabet is promised to clients.
    """
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little", signed=True)
    return safe_encode(str(fnv32a(data)))
