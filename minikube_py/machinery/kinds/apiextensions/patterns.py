"""Why Go's regular expression engine (RE2) refuses a pattern."""

from __future__ import annotations

from minikube_py.machinery.regular_expressions import PatternError, compile_pattern


def go_pattern_error(pattern: str) -> str:
    """The text of ``regexp.Compile``'s error; empty for a pattern that it takes."""
    try:
        compile_pattern(pattern)
    except PatternError as error:
        return str(error)
    return ""
