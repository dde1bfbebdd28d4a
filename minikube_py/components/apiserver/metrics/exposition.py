"""Prometheus' text format (version 0.0.4) of families, written in pieces.

``prometheus_client`` writes ``_total`` behind the name of every counter; some of Kubernetes' older counters do not end
in it, so this is written here. In: families. Out: the text; the loop gets its turn after each piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from minikube_py.components.apiserver.metrics.values import Definition, Distribution, Family, Labels

Source = Callable[[], Iterable[Family]]
_LINES_AT_ONCE = 500
"""Lines that are written before the loop gets its turn: less than a millisecond."""


async def exposition(sources: Sequence[Source]) -> bytes:
    """The text of all families of the sources; those without samples are left out, as in Go."""
    pieces: list[bytes] = []
    waiting: list[str] = []
    for source in sources:
        for family in source():
            for line in lines(family):
                waiting.append(line)
                if len(waiting) >= _LINES_AT_ONCE:
                    pieces.append("".join(waiting).encode())
                    waiting.clear()
                    await asyncio.sleep(0)
        await asyncio.sleep(0)
    pieces.append("".join(waiting).encode())
    return b"".join(pieces)


def lines(family: Family) -> Iterator[str]:
    """The lines of one family, each with its newline."""
    definition = family.definition
    order = sorted(range(len(definition.labels)), key=lambda index: definition.labels[index])
    first = True
    for labels, value in family.samples:
        if first:
            first = False
            text = definition.help.replace("\\", r"\\").replace("\n", r"\n")
            yield f"# HELP {definition.name} {text}\n# TYPE {definition.name} {definition.type}\n"
        shown = _shown(definition.labels, labels, order)
        if isinstance(value, Distribution):
            yield from _distribution(definition, shown, value)
        else:
            yield f"{definition.name}{f'{{{shown}}}' if shown else ''} {number(value)}\n"


def _distribution(definition: Definition, shown: str, value: Distribution) -> Iterator[str]:
    name, braces = definition.name, f"{{{shown}}}" if shown else ""
    running = sum(value.counts)
    if definition.type == "histogram":
        before, running = f"{name}_bucket{{{shown}{',' if shown else ''}le=", 0
        for bound, count in zip(value.bounds, value.counts, strict=False):
            running += count
            yield f'{before}"{number(bound)}"}} {running}\n'
        running += value.counts[-1]
        yield f'{before}"+Inf"}} {running}\n'
    yield f"{name}_sum{braces} {number(value.total)}\n{name}_count{braces} {running}\n"


def _shown(names: Labels, values: Labels, order: Sequence[int]) -> str:
    return ",".join([f'{names[index]}="{_escaped(values[index])}"' for index in order])


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return text


def number(value: float) -> str:
    """A number as Go writes it: integers without a point."""
    if value == float("inf"):
        return "+Inf"
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)
