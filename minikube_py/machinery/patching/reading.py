"""The bytes of a JSON, merge or strategic patch, read with the words of the API server's decoders (``patch.go``).

With field validation the text is first read into the types that it should have, which finds wrong types and repeated
keys; without it only what the patch is applied by complains. Repeated keys are problems that the caller weighs.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import orjson

from minikube_py.machinery.decoding import MAX_DEPTH, check_depth, count_keys, duplicate_fields, json_kind
from minikube_py.machinery.errors import ApiError, bad_request
from minikube_py.machinery.json_errors import explain

_OBJECT = "value of type map[string]interface {}"
_TEXTS = ("op", "path", "from")
_FIELDS = frozenset((*_TEXTS, "value"))


class PatchForm(Enum):
    """The patches that are JSON."""

    JSON = "json"
    MERGE = "merge"
    STRATEGIC = "strategic"


def read_patch_text(data: bytes, form: PatchForm, validation: str) -> tuple[Any, list[str]]:
    """The patch, and what a strict reader objects to. ApiError 400 when it is malformed."""
    checked = validation != "Ignore"
    try:
        patch = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if form is PatchForm.MERGE and not checked:
            raise bad_request("Invalid JSON Patch") from error
        raise _malformed(form, explain(data) or str(error), checked=checked) from error
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:  # no text nests deeper than it has brackets
        check_depth(patch)
    if form is PatchForm.JSON:
        return patch, _operation_problems(patch, data, checked=checked)
    if form is PatchForm.MERGE and patch is None:
        raise bad_request("Invalid JSON Patch")
    if patch is not None and not isinstance(patch, dict):
        raise _unfit(form, patch, _OBJECT, checked=checked)
    return patch, duplicate_fields(data, patch) if checked and patch else []


def _malformed(form: PatchForm, why: str, *, checked: bool) -> ApiError:
    prefix = "error decoding patch: " if checked and form is not PatchForm.STRATEGIC else ""
    return bad_request(prefix + why)


def _unfit(form: PatchForm, value: Any, wanted: str, *, checked: bool) -> ApiError:
    return _malformed(form, f"json: cannot unmarshal {json_kind(value)} into Go {wanted}", checked=checked)


def _operation_problems(patch: Any, data: bytes, *, checked: bool) -> list[str]:
    """Unknown and repeated fields of a JSON patch's operations. ApiError 400 for what is no list of operations."""
    if patch is None:
        return []
    package = "handlers.jsonPatchOp" if checked else "jsonpatch.Operation"
    if not isinstance(patch, list):
        whole = f"value of type []{package}" if checked else "value of type jsonpatch.Patch"
        raise _unfit(PatchForm.JSON, patch, whole, checked=checked)
    for operation in patch:
        if operation is not None and not isinstance(operation, dict):
            raise _unfit(PatchForm.JSON, operation, f"value of type {package}", checked=checked)
        if checked:
            _check_texts(operation or {})
    return [f"json patch {problem}" for problem in _strict_problems(patch, data)] if checked else []


def _check_texts(operation: dict[str, Any]) -> None:
    for name, value in operation.items():
        if name in _TEXTS and value is not None and not isinstance(value, str):
            wanted = f"struct field jsonPatchOp.{name} of type string"
            raise _unfit(PatchForm.JSON, value, wanted, checked=True)


def _strict_problems(patch: Sequence[Any], data: bytes) -> list[str]:
    unknown = [
        f'unknown field "[{index}].{name}"'
        for index, operation in enumerate(patch)
        for name in operation or ()
        if name not in _FIELDS
    ]
    return [*duplicate_fields(data, keys=count_keys(patch)), *unknown]
