"""Warning headers (RFC 7234 code 299), as the API server's warning filter and ``NewWarningHeader`` write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from multidict import CIMultiDict

_TOTAL_LIMIT = 4096
_LINE_LIMIT = 256
"""Characters: of all warnings, and of each one once all together are too long."""
_YAML_ERRORS, _CONVERTING = "yaml: unmarshal errors:\n", "error converting YAML to JSON: "


def add_warnings(headers: CIMultiDict[str], warnings: Iterable[str]) -> None:
    """Add each warning once; long ones are cut when all together are too long.

    One with control characters cannot stand in a header and is left out.
    """
    unique = [text for text in dict.fromkeys(part for whole in warnings for part in _parts(whole)) if text]
    if sum(len(text) for text in unique if _fits(text)) > _TOTAL_LIMIT:
        unique = [text[:_LINE_LIMIT] for text in unique]
    total = 0
    for text in unique:
        if total >= _TOTAL_LIMIT:
            return
        if not _fits(text):
            continue
        total += len(text)
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        headers.add("Warning", f'299 - "{escaped}"')


def _parts(text: str) -> list[str]:
    """What a strict YAML reader complains of is several warnings, one in a line (``parseYAMLWarnings``)."""
    head, found, lines = text.partition(_YAML_ERRORS)
    return [line.strip() for line in lines.split("\n")] if found and head in ("", _CONVERTING) else [text]


def _fits(text: str) -> bool:
    """Whether a header can hold the text: no control characters, and no halves of characters (Cc, Cs)."""
    return text.isprintable() or not any(unicodedata.category(char) in ("Cc", "Cs") for char in text)
