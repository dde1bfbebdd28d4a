"""etcd's keys are bytes, this store's are text: a mapping that loses nothing.

Bytes that are UTF-8 are that text. Any other byte b becomes the private character U+10FF00 + b, and
the UTF-8 of those characters themselves is mapped byte by byte too, so that the mapping can be
undone. Text is ordered like its UTF-8, so ranges of UTF-8 keys are etcd's ranges exactly; keys that
are not UTF-8 sort behind UTF-8 keys with the same beginning (in etcd: between them).
"""

from __future__ import annotations

from functools import lru_cache

from minikube_py.datastore.index import prefix_end

_ESCAPES = 0x10FF00
_FIRST_ESCAPE = chr(_ESCAPES + 0x80)


def text_of(key: bytes) -> str:
    """
    >>> text_of("/é".encode()), text_of(b"a" + bytes([255])) == "a" + chr(0x10FFFF)
    ('/é', True)
    """
    if key.isascii():
        return key.decode("ascii")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return "".join(map(_escaped, key.decode("utf-8", "surrogateescape")))
    return "".join(map(_escaped, text)) if text and max(text) >= _FIRST_ESCAPE else text


def bytes_of(key: str) -> bytes:
    """The inverse of ``text_of``."""
    if key.isascii() or max(key) < _FIRST_ESCAPE:
        return key.encode()
    return b"".join(bytes([ord(c) - _ESCAPES]) if c >= _FIRST_ESCAPE else c.encode() for c in key)


def span_of(key: bytes, range_end: bytes) -> tuple[str, str | None]:
    """The store's range for etcd's: no ``range_end`` is one key, a zero byte no upper bound."""
    start = "" if key == b"\0" and range_end else text_of(key)
    if not range_end:
        return start, None
    if range_end == b"\0":
        return start, ""
    if _is_text(range_end) or not _is_text(key):
        return start, text_of(range_end)
    if range_end == _following(key):  # all keys that begin with `key`
        return start, prefix_end(start)
    return start, _rounded_up(range_end)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return chr(_ESCAPES + code - 0xDC00)
    if code >= _ESCAPES + 0x80:
        return "".join(chr(_ESCAPES + byte) for byte in character.encode())
    return character


def _is_text(data: bytes) -> bool:
    try:
        return max(data.decode(), default="") < _FIRST_ESCAPE
    except UnicodeDecodeError:
        return False


def _following(key: bytes) -> bytes:
    """The smallest bytes above everything that begins with ``key``."""
    stem = key.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


@lru_cache(maxsize=256)
def _rounded_up(bound: bytes) -> str:
    """The smallest text whose UTF-8 is not below ``bound``, which is not UTF-8 itself."""
    try:
        head, rest = bound.decode(), b""
    except UnicodeDecodeError as failure:
        head, rest = bound[: failure.start].decode(), bound[failure.start :]
    low, high = 0x80, ord(_FIRST_ESCAPE)
    while low < high:
        middle = (low + high) // 2
        if chr(middle).encode("utf-8", "surrogatepass") < rest:
            low = middle + 1
        else:
            high = middle
    return head + (chr(0xE000) if 0xD800 <= low <= 0xDFFF else chr(low))
