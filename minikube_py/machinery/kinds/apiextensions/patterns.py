"""Why Go's regular expression engine (RE2) refuses a pattern."""

from __future__ import annotations

import re

_PERL_ONLY = re.compile(r"(?<!\\)(?:\\\\)*(\(\?(?:[=!>#(]|<[=!]))")
_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\(\?P?<(\w+)>")
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "word": r"\w", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f",
    "print": " -~", "graph": "!-~", "ascii": r"\x00-\x7f",
}  # fmt: skip


def go_pattern_error(pattern: str) -> str:
    """The text of ``regexp.Compile``'s error; empty for a pattern that it takes."""
    perl = _PERL_ONLY.search(pattern)
    if perl is not None:
        return f"error parsing regexp: invalid or unsupported Perl syntax: `{perl.group(1)}`"
    try:
        re.compile(_as_python(pattern))
    except re.error as error:
        return f"error parsing regexp: {_reason(pattern, error)}"
    return ""


def _as_python(pattern: str) -> str:
    """The pattern with what only RE2 knows replaced by something alike, so that Python can judge the rest."""
    for name, inside in _CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", inside).replace(f"[:^{name}:]", inside)
    pattern = re.sub(r"\\[pP](?:\{\^?\w+\}|\w)", "a", pattern)
    pattern = re.sub(r"\\x\{[0-9A-Fa-f]+\}", "a", pattern).replace(r"\z", r"\Z").replace(r"\C", ".")
    return _GROUP.sub(r"\1(?P<\2>", pattern)


def _reason(pattern: str, error: re.error) -> str:
    text, at = error.msg, error.pos or 0
    if text.startswith("unterminated character set"):
        return f"missing closing ]: `{pattern[at:]}`"
    if text.startswith("missing ), unterminated subpattern"):
        return f"missing closing ): `{pattern}`"
    if text.startswith("unbalanced parenthesis"):
        return f"unexpected ): `{pattern}`"
    if text.startswith("nothing to repeat"):
        return f"missing argument to repetition operator: `{pattern[at : at + 1]}`"
    if text.startswith("multiple repeat"):
        return f"invalid nested repetition operator: `{pattern[at - 1 : at + 1]}`"
    if text.startswith("bad escape (end of pattern)"):
        return "trailing backslash at end of expression: ``"
    if text.startswith("bad escape"):
        return f"invalid escape sequence: `{pattern[at : at + 2]}`"
    if text.startswith("bad character range"):
        return f"invalid character class range: `{text.removeprefix('bad character range ')}`"
    return f"{text}: `{pattern}`"
