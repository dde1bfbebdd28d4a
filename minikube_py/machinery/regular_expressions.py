"""Regular expressions as Go's ``regexp`` has them: RE2's syntax, matched in linear time.

Used wherever a user gives a pattern (schemas of custom resources, CEL): Python's engine could be kept busy for
hours by one string. Compiled patterns are cached and shared. Errors are told in Go's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any


class PatternError(ValueError):
    """A pattern that RE2 refuses; ``str()`` is the text of Go's ``regexp.Compile``."""


_WORDS = (
    ("missing ]", "missing closing ]"),
    ("missing )", "missing closing )"),
    ("no argument for repetition operator", "missing argument to repetition operator"),
    ("bad repetition operator", "invalid nested repetition operator"),
    ("trailing \\", "trailing backslash at end of expression"),
    ("invalid named capture group", "invalid named capture"),
    ("invalid repetition size", "invalid repeat count"),
    ("invalid perl operator", "invalid or unsupported Perl syntax"),
)
_FLAGS = re.compile(r"\(\?[imsU-]+")


@lru_cache(maxsize=2048)
def compile_pattern(pattern: str) -> Any:
    """The compiled pattern: ``search(text)`` gives a match or None. Raises ``PatternError``."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise PatternError(f"error parsing regexp: {_told(error)}") from None


def _told(error: Exception) -> str:
    """RE2's message in the words of Go."""
    raw = error.args[0] if error.args else b""
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
    for theirs, ours in _WORDS:
        if text.startswith(theirs):
            where = text[len(theirs) :].removeprefix(":").strip()
            if ours == "invalid or unsupported Perl syntax" and _FLAGS.fullmatch(where):
                ours = "missing closing )"
            return f"{ours}: `{where}`"
    word, _, where = text.partition(": ")
    return f"{word}: `{where}`"


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern occurs anywhere in the text (``MatchString``). Raises ``PatternError``."""
    return compile_pattern(pattern).search(text) is not None


def all_matches(pattern: str, text: str) -> Iterator[str]:
    """All successive matches that do not overlap (``FindAllString``). Raises ``PatternError``."""
    for match in compile_pattern(pattern).finditer(text):
        yield match.group()
