"""Prometheus' text form for values that are measured when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping


def head(name: str, kind: str, text: str) -> str:
    """The two lines before a metric's samples."""
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def line(name: str, labels: Mapping[str, str], value: float, milliseconds: int | None) -> str:
    """One sample; ``milliseconds``: Unix time at which it was measured, None for now."""
    inner = ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels))
    stamp = f" {milliseconds}" if milliseconds else ""
    return f"{name}{{{inner}}} {value!r}{stamp}\n" if inner else f"{name} {value!r}{stamp}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
