"""Warning headers (RFC 7234 code 299), as ``k8s.io/apiserver/pkg/warning`` writes them."""

from __future__ import annotations

from collections.abc import Iterable

from multidict import CIMultiDict

_TOTAL_LIMIT = 4096
_LINE_LIMIT = 256


def add_warnings(headers: CIMultiDict[str], warnings: Iterable[str]) -> None:
    """Add each warning once; long ones are cut when all together are too long."""
    unique = list(dict.fromkeys(warnings))
    if sum(len(text) for text in unique) > _TOTAL_LIMIT:
        unique = [text[:_LINE_LIMIT] for text in unique]
    total = 0
    for text in unique:
        total += len(text)
        if total > _TOTAL_LIMIT:
            return
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        cleaned = "".join(char if char >= " " else " " for char in escaped)
        headers.add("Warning", f'299 - "{cleaned}"')
