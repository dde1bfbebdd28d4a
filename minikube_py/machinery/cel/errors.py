"""What compiling and evaluating expressions raise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: a text at an offset (in characters) of the source."""

    offset: int
    text: str


class CompileError(Exception):
    """An expression that is not accepted. ``str()`` is the text that Kubernetes tells; ``problems`` are its parts."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(display(source, self.problems))


class WrongResult(CompileError):
    """The expression compiles, but gives a value of another type than wanted."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)
        self.problems = ()


class EvaluationError(Exception):
    """An evaluation that gives no value. ``str()`` is cel-go's text, such as ``no such key: x``."""


class BudgetExceeded(EvaluationError):
    """The evaluation costs more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_such_overload() -> EvaluationError:
    """The error of an operation on values of the wrong types."""
    return EvaluationError("no such overload")


_MOST = 100


def display(source: str, problems: Iterable[Problem]) -> str:
    """All problems with their lines and a mark under the place, ordered by place (``Errors.ToDisplayString``)."""
    lines = source.split("\n")
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    placed = []
    for problem in problems:
        number = max(index for index, start in enumerate(starts) if start <= problem.offset or index == 0)
        placed.append((number, problem.offset - starts[number], problem.text))
    placed.sort(key=lambda entry: entry[:2])
    shown = [_shown(lines[number], number, column, text) for number, column, text in placed[:_MOST]]
    if len(placed) > _MOST:
        shown.append(f"{len(placed) - _MOST} more errors were truncated")
    return "\n".join(shown)


def _shown(line: str, number: int, column: int, text: str) -> str:
    line = line.replace("\t", " ")
    before = "".join("．" if ord(char) > 127 else "." for char in line[:column])
    mark = "＾" if column < len(line) and ord(line[column]) > 127 else "^"
    return f"ERROR: <input>:{number + 1}:{column + 1}: {text}\n | {line}\n | {before}{mark}"
