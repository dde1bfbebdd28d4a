"""JSON patch (RFC 6902) as the API server applies it.

A patch that cannot be read is ``ApiError`` 400; one that cannot be applied (a missing path, a failed
test) is 422 with the reference's generic text, because that is all that its clients ever see. Negative
indexes count from the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.decoding import check_depth
from minikube_py.machinery.errors import ApiError, bad_request, request_too_large
from minikube_py.machinery.json_errors import TOO_DEEP
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.patching.go_texts import not_processable

MAX_OPERATIONS = 10_000
MAX_COPIED_ITEMS = 1_000_000
"""How many values all ``copy`` operations of a patch may make together (copies of copies grow fast)."""
_INDEX_DIGITS = 18
_OPERATIONS = frozenset({"add", "remove", "replace", "move", "copy", "test"})


class _CannotApply(Exception):
    """An operation that does not fit the document; the text is for the cause chain only."""


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
            copied += _explained(holder, op)
            if copied > MAX_COPIED_ITEMS:
                raise _CannotApply("copies exceed the limit")
    except _CannotApply as error:
        raise not_processable() from error
    except RecursionError as error:  # copies into themselves nest without end
        raise bad_request(TOO_DEEP) from error
    result = holder.get("")  # the document itself may have been removed
    if not isinstance(result, dict):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    check_depth(result)
    return result


def _explained(holder: Object, op: Any) -> int:
    """``_apply`` with the errors of the reference library."""
    try:
        return _apply(holder, op)
    except _TestFailed:
        raise
    except _CannotApply as error:
        kind, path = (op or {}).get("op"), (op or {}).get("path")
        if kind == "add":
            text = f'add operation does not apply: doc is missing path: "{path}": missing value'
        elif kind == "remove":
            key = str(path).rpartition("/")[2]
            text = f"error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
        elif kind == "replace":
            text = f"replace operation does not apply: doc is missing key: {path}: missing value"
        else:
            raise
        raise _CannotApply(text) from error


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
        source = _tokens(op.get("from"))
        value = _get(holder, source)
        if kind == "move":
            target = _tokens(path)
            if target[: len(source)] == source and len(target) > len(source):
                raise _CannotApply("cannot move a value into itself")
            _remove(holder, source)
            _add(holder, target, value)
            return 0
        _add(holder, _tokens(path), thaw(value))
        return _size(value)
    tokens = _tokens(path)
    if kind == "remove":
        _remove(holder, tokens)
    elif kind == "test":
        _test(holder, tokens, op.get("value"))
    elif kind == "add":
        _add(holder, tokens, thaw(op.get("value")))
    else:
        _replace(holder, tokens, thaw(op.get("value")))
    return 0


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1


def _tokens(path: Any) -> list[str]:
    """The path's parts below the holder; the empty path is the document."""
    if not isinstance(path, str):
        raise _CannotApply("missing path")
    if path and not path.startswith("/"):
        raise _CannotApply(f"path {path!r} does not begin with a slash")
    return ["", *(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])]


def _parent(holder: Object, tokens: list[str]) -> Any:
    here: Any = holder
    for token in tokens[:-1]:
        here = _child(here, token)
    if not isinstance(here, dict | list):
        raise _CannotApply("missing path")
    return here


def _child(parent: Any, token: str) -> Any:
    if isinstance(parent, dict):
        if token not in parent:
            raise _CannotApply(f"missing path: {token}")
        return parent[token]
    if isinstance(parent, list):
        return parent[_index(token, len(parent))]
    raise _CannotApply(f"missing path: {token}")


def _index(token: str, length: int) -> int:
    """A position among existing items."""
    digits = token.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > _INDEX_DIGITS:
        raise _CannotApply(f"invalid index: {token}")
    index = int(token)
    if not -length <= index < length:
        raise _CannotApply(f"index out of bounds: {token}")
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
        index = _index(token, len(parent) + 1)
        parent.insert(index if index >= 0 else index + len(parent) + 1, value)


def _remove(holder: Object, tokens: list[str]) -> None:
    parent, token = _parent(holder, tokens), tokens[-1]
    _child(parent, token)
    if isinstance(parent, dict):
        del parent[token]
    else:
        del parent[_index(token, len(parent))]


def _replace(holder: Object, tokens: list[str], value: Any) -> None:
    parent, token = _parent(holder, tokens), tokens[-1]
    _child(parent, token)
    if isinstance(parent, dict):
        parent[token] = value
    else:
        parent[_index(token, len(parent))] = value


def _test(holder: Object, tokens: list[str], wanted: Any) -> None:
    try:
        found = _get(holder, tokens)
    except _CannotApply:
        found = None  # a missing value equals null
    if not _equal(found, wanted):
        raise _TestFailed(f"testing value {'/'.join(tokens)} failed: test failed")


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
