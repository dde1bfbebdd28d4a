"""JSON patch (RFC 6902) as the API server applies it.

A patch that cannot be read is ``ApiError`` 400; one that cannot be applied (a missing path, a failed
test) is 422 with the reference's generic text, because that is all that its clients ever see. Negative
indexes count from the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from minikube_py.machinery.decoding import check_depth, no_object
from minikube_py.machinery.errors import ApiError, bad_request, go_quote, invalid, invalid_value, request_too_large
from minikube_py.machinery.json_errors import TOO_DEEP
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.patching.go_texts import not_processable
from minikube_py.machinery.raw_texts import reencoded

MAX_OPERATIONS = 10_000
MAX_COPIED_ITEMS = 1_000_000
"""How many values all ``copy`` operations of a patch may make together (copies of copies grow fast)."""
_INDEX_DIGITS = 18
_OPERATIONS = frozenset({"add", "remove", "replace", "move", "copy", "test"})


class _CannotApply(Exception):
    """An operation that does not fit the document; the text, the reference library's, is for admission's errors."""


class _NoPlace(_CannotApply):
    """A path whose parent is not in the document."""


class _NoKey(_CannotApply):
    """A ``replace`` of what is not there."""


class _TestFailed(_CannotApply):
    """A ``test`` operation that does not hold."""


def is_failed_test(error: ApiError) -> bool:
    """Whether a patch was not applied because of a ``test`` operation."""
    return isinstance(error.__cause__, _TestFailed)


def why_not_applied(error: ApiError) -> str:
    """Why a patch could not be applied, in the reference library's words."""
    return str(error.__cause__) if isinstance(error.__cause__, _CannotApply) else error.message


def apply_json_patch(live: Mapping[str, Any], ops: Any) -> Object:
    """The patched copy; ApiError 400, 413 or 422. Neither argument is changed or shared."""
    if ops is None:
        return thaw(dict(live))
    if not isinstance(ops, Sequence) or isinstance(ops, str):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(ops) > MAX_OPERATIONS:
        raise request_too_large(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(ops)}")
    holder: Object = {"": thaw(dict(live))}
    copied = 0
    try:
        for op in ops:
            copied += _apply(holder, op)
            if copied > MAX_COPIED_ITEMS:
                raise _CannotApply("copies exceed the limit")
    except _CannotApply as error:
        raise not_processable() from error
    except RecursionError as error:  # copies into themselves nest without end
        raise bad_request(TOO_DEEP) from error
    result: Any = holder[""]
    check_depth(result)
    if not isinstance(result, dict):
        raise invalid("", "", "", [invalid_value("patch", orjson.dumps(result).decode(), no_object(result))])
    return reencoded(result)


def _apply(holder: Object, op: Any) -> int:
    """Apply one operation to the document under the empty key; return the number of values copied."""
    if op is None:
        raise _CannotApply("Unexpected kind: unknown")
    if not isinstance(op, Mapping):
        raise bad_request("json: cannot unmarshal string into Go value of type jsonpatch.Operation")
    kind, path = op.get("op"), op.get("path")
    if not isinstance(kind, str) or kind not in _OPERATIONS:
        raise _CannotApply(f"Unexpected kind: {kind}")
    if kind in ("move", "copy"):
        return _moved(holder, kind, op)
    if not isinstance(path, str):
        raise _CannotApply(f"{kind} operation failed to decode path: {_no_path(kind)}")
    quoted = f'"{path}"' if kind in ("add", "remove") else path
    missing = f"{kind} operation does not apply: {'' if kind == 'test' else 'doc '}is missing path: {quoted}"
    with _told(missing, f"error in {kind} for path: '{path}'"):
        tokens = _tokens(path, whole=kind in ("test", "replace"))
        if kind == "remove":
            _remove(holder, tokens)
        elif kind == "test":
            _test(holder, tokens, path, op.get("value"))
        elif kind == "add":
            _add(holder, tokens, thaw(op.get("value")))
        else:
            _replace(holder, tokens, path, thaw(op.get("value")))
    return 0


def _moved(holder: Object, kind: str, op: Mapping[str, Any]) -> int:
    """Apply a ``move`` or a ``copy``; return the number of values copied."""
    source, path = op.get("from"), op.get("path")
    if not isinstance(source, str):
        raise _CannotApply(f"{kind} operation failed to decode from: operation, missing from field: missing value")
    lost = f"{kind} operation does not apply: doc is missing from path: {source}"
    if kind == "copy":
        with _told(lost, f"error in copy for from: '{source}'"):
            value = _get(holder, _tokens(source))
    else:
        with _told(lost, f"error in move for path: '{source.rpartition('/')[2]}'"):
            tokens = _tokens(source)
            value = _get(holder, tokens)
            _remove(holder, tokens)
    if not isinstance(path, str):
        raise _CannotApply(f"{kind} operation failed to decode path: {_no_path(kind)}")
    wrong = f"error in move for path: '{path}'" if kind == "move" else "error while adding value during copy"
    with _told(f"{kind} operation does not apply: doc is missing destination path: {path}", wrong):
        _add(holder, _tokens(path), thaw(value) if kind == "copy" else value)
    return _size(value) if kind == "copy" else 0


def _no_path(kind: str) -> str:
    return "missing value" if kind in ("add", "remove", "copy") else "operation missing path field: missing value"


@contextmanager
def _told(missing: str, wrong: str) -> Iterator[None]:
    """Say in the reference library's words what cannot be applied: a missing place, or what is done there."""
    try:
        yield
    except (_TestFailed, _NoKey):
        raise
    except _NoPlace as error:
        raise _CannotApply(f"{missing}: missing value") from error
    except _CannotApply as error:
        raise _CannotApply(f"{wrong}: {error}") from error


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1


def _tokens(path: Any, *, whole: bool = False) -> list[str]:
    """The path's parts below the holder; with ``whole`` the empty path may stand for the document.

    Like the reference library, this does not look at what comes before the first slash.
    """
    if not isinstance(path, str) or ("/" not in path and not (whole and not path)):
        raise _NoPlace
    return ["", *(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])]


def _parent(holder: Object, tokens: list[str]) -> Any:
    here: Any = holder
    for token in tokens[:-1]:
        try:
            here = _child(here, token)
        except _CannotApply as error:
            raise _NoPlace from error
    if not isinstance(here, dict | list):
        raise _NoPlace
    return here


def _child(parent: Any, token: str) -> Any:
    if isinstance(parent, dict):
        if token not in parent:
            raise _CannotApply(f"unable to get nonexistent key: {token}: missing value")
        return parent[token]
    if isinstance(parent, list):
        return parent[_index(token, len(parent))]
    raise _NoPlace


def _index(token: str, length: int) -> int:
    """A position among existing items."""
    digits = token.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > _INDEX_DIGITS:
        raise _CannotApply(f"strconv.Atoi: parsing {go_quote(token)}: invalid syntax")
    index = int(token)
    if not -length <= index < length:
        raise _CannotApply(f"Unable to access invalid index: {index}: invalid index referenced")
    return index


def _get(holder: Object, tokens: list[str]) -> Any:
    return _child(_parent(holder, tokens), tokens[-1])


def _add(holder: Object, tokens: list[str], value: Any) -> None:
    parent, token = _parent(holder, tokens), tokens[-1]
    if isinstance(parent, dict):
        parent[token] = value
    elif token == "-":
        parent.append(value)
    else:
        try:
            index = _index(token, len(parent) + 1)
        except _CannotApply as error:
            if "strconv" in str(error):
                raise _CannotApply(f"value was not a proper array index: '{token}': {error}") from error
            raise
        parent.insert(index if index >= 0 else index + len(parent) + 1, value)


def _remove(holder: Object, tokens: list[str]) -> None:
    parent, token = _parent(holder, tokens), tokens[-1]
    if isinstance(parent, list):
        del parent[_index(token, len(parent))]
    elif token in parent:
        del parent[token]
    else:
        raise _CannotApply(f"Unable to remove nonexistent key: {token}: missing value")


def _replace(holder: Object, tokens: list[str], path: str, value: Any) -> None:
    parent, token = _parent(holder, tokens), tokens[-1]
    try:
        _child(parent, token)
    except _CannotApply as error:
        raise _NoKey(f"replace operation does not apply: doc is missing key: {path}: missing value") from error
    if isinstance(parent, dict):
        parent[token] = value
    else:
        parent[_index(token, len(parent))] = value


def _test(holder: Object, tokens: list[str], path: str, wanted: Any) -> None:
    parent, token = _parent(holder, tokens), tokens[-1]
    found = parent.get(token) if isinstance(parent, dict) else _child(parent, token)  # a missing value equals null
    if not _equal(found, wanted):
        raise _TestFailed(f"testing value {path} failed: test failed")


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
