"""What keeps a worker from joining, as the user sees it."""

from __future__ import annotations


class JoinError(Exception):
    """The worker cannot join; the text is one line with the cause and the mend."""
