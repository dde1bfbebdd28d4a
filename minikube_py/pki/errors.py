"""The one error of this package."""

from __future__ import annotations


class PkiError(Exception):
    """A file of the PKI that cannot be used; the text names the file, what is wrong and the mend."""
