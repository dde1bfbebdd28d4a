"""What a failed call raises."""

from __future__ import annotations


class RpcError(Exception):
    """A call failed; ``code`` is the status name, such as ``NOT_FOUND``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
