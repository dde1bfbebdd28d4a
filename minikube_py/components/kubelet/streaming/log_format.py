"""The CRI log format: lines of ``<time> <stream> <tags> <content>``, and what clients ask to see of it.

A long line is cut by the runtime into pieces tagged ``P`` (partial); only the last is tagged ``F``.
Clients see the pieces joined, with one time stamp at the start of the whole. Pure, no files.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    timestamp: bytes
    stream: bytes
    partial: bool
    content: bytes
    """With its line feed, unless it is partial."""


def parse_line(raw: bytes) -> LogLine | None:
    """One line of the file, its line feed included; None for what is not in the format."""
    parts = raw.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    timestamp, stream, tags, content = parts
    partial = tags.split(b":")[0] == b"P"
    return LogLine(timestamp, stream, partial, content.removesuffix(b"\n") if partial else content)


@dataclass(slots=True)
class LogView:
    """Turns lines of the file into the bytes for one client. Feed it every line, in order.

    ``since`` is RFC 3339 text in UTC with nanoseconds, or empty: time stamps of one width compare
    as text. ``remaining_bytes`` counts down; None is no limit.
    """

    timestamps: bool = False
    since: bytes = b""
    stream: bytes = b""
    remaining_bytes: int | None = None
    _at_line_start: bool = True

    @property
    def exhausted(self) -> bool:
        return self.remaining_bytes is not None and self.remaining_bytes <= 0

    def show(self, raw: bytes) -> bytes:
        """The client's bytes for one line; empty when it is left out."""
        line = parse_line(raw)
        if line is None or (self.stream and line.stream != self.stream):
            return b""
        if self.since and comparable_time(line.timestamp) < self.since:
            return b""
        prefix = line.timestamp + b" " if self.timestamps and self._at_line_start else b""
        self._at_line_start = not line.partial
        out = prefix + line.content
        if self.remaining_bytes is not None:
            out = out[: self.remaining_bytes]
            self.remaining_bytes -= len(out)
        return out


def comparable_time(timestamp: bytes) -> bytes:
    """A UTC time stamp with nine digits of fraction and ``Z``, so that text order is time order.

    containerd writes UTC with nanoseconds, trailing zeros left out.
    """
    text = timestamp.removesuffix(b"Z").removesuffix(b"+00:00")
    whole, _, fraction = text.partition(b".")
    return whole + b"." + fraction.ljust(9, b"0")[:9] + b"Z"
