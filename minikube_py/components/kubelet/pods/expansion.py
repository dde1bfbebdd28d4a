"""Kubernetes' ``$(VAR)`` expansion (``third_party/forked/golang/expansion``)."""

from __future__ import annotations

from collections.abc import Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value; unknown names stay as they are, and ``$$`` means ``$``."""
    if "$" not in text:
        return text
    parts: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 == len(text):
            parts.append(text[position:])
            return "".join(parts)
        parts.append(text[position:dollar])
        following = text[dollar + 1]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "(":
            end = text.find(")", dollar + 2)
            if end < 0:
                # An unfinished reference is plain text; what follows it is still looked at.
                parts.append("$(")
                position = dollar + 2
                continue
            name = text[dollar + 2 : end]
            parts.append(variables.get(name, f"$({name})"))
            position = end + 1
        else:
            parts.append("$" + following)
            position = dollar + 2
