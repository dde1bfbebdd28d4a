"""Texts in the form that Go's standard library gives them, where users see them."""

from __future__ import annotations


def go_duration(seconds: float) -> str:
    """``time.Duration.String()`` to the millisecond: ``523ms``, ``1.5s``, ``1m20s``, ``1h0m5s``."""
    milliseconds = int(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    whole, rest = divmod(milliseconds, 1000)
    fraction = f"{rest:03d}".rstrip("0")
    hours, remainder = divmod(whole, 3600)
    minutes, last = divmod(remainder, 60)
    text = f"{last}.{fraction}s" if fraction else f"{last}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def rpc_text(code: str, message: str) -> str:
    """A gRPC failure as Go prints it: ``rpc error: code = NotFound desc = ...`` (code as ``NOT_FOUND``)."""
    name = "OK" if code == "OK" else "".join(part.capitalize() for part in code.split("_"))
    return f"rpc error: code = {name} desc = {message}"
