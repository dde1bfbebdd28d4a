"""JSONPath as printer columns use it: fields, quoted fields, indexes, wildcards, equality filters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>[\w\-/]+(?:\\\.[\w\-/]+)*)|\['(?P<quoted>[^']*)'\]|\["(?P<quoted2>[^"]*)"\]|"""
    r"""\[(?P<index>-?\d+)\]|(?P<all>\[\*\]|\.\*)|"""
    r"""\[\?\(@\.(?P<key>[\w.\-]+)\s*==\s*(?P<mark>["'])(?P<value>.*?)(?P=mark)\)\]"""
)
Step = tuple[str, str, str]


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[Step, ...] | None:
    """The steps of a path; None when it holds what is not understood."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    text = text if text.startswith((".", "[")) else f".{text}"
    found: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match["field"] is not None:
            found.append(("field", match["field"].replace("\\.", "."), ""))
        elif match["quoted"] is not None or match["quoted2"] is not None:
            found.append(("field", match["quoted"] or match["quoted2"] or "", ""))
        elif match["index"] is not None:
            found.append(("index", match["index"], ""))
        elif match["all"] is not None:
            found.append(("all", "", ""))
        else:
            found.append(("filter", match["key"], match["value"]))
    return tuple(found)


def first_value(obj: Any, path: str) -> Any:
    """The first value at a path; None when there is none or the path is not understood."""
    steps = _steps(path)
    if steps is None:
        return None
    values: list[Any] = [obj]
    for step in steps:
        values = [result for value in values for result in _take(value, step)]
    return values[0] if values else None


def _take(value: Any, step: Step) -> Iterable[Any]:
    sort, key, wanted = step
    if sort == "field":
        return [value[key]] if isinstance(value, dict) and key in value else []
    if sort == "index":
        number = int(key)
        return [value[number]] if isinstance(value, list) and -len(value) <= number < len(value) else []
    if sort == "all":
        return value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    items = value if isinstance(value, list) else []
    return [item for item in items if str(_deep(item, key)) == wanted]


def _deep(item: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        if not isinstance(item, dict):
            return None
        item = item.get(part)
    return item
