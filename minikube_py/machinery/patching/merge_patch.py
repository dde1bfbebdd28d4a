"""JSON merge patch (RFC 7386): null deletes, objects merge, everything else replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import bad_request
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.raw_texts import reencoded


def apply_merge_patch(live: Mapping[str, Any], patch: Any) -> Object:
    """The patched copy. ApiError 400 when the patch is no object. Neither argument is changed or shared."""
    if not isinstance(patch, Mapping):
        raise bad_request("Invalid JSON Patch")
    return reencoded(_merged(live, patch))


def _merged(live: Mapping[str, Any], patch: Mapping[str, Any]) -> Object:
    result: Object = {}
    for key, value in live.items():
        if key not in patch:
            result[key] = thaw(value)
            continue
        wanted = patch[key]
        if wanted is not None:
            result[key] = _replaced(value, wanted)
    for key, wanted in patch.items():
        if key not in live and wanted is not None:
            result[key] = _replaced(None, wanted)
    return result


def _replaced(value: Any, wanted: Any) -> Any:
    if isinstance(wanted, Mapping):
        return _merged(value if isinstance(value, Mapping) else {}, wanted)
    return thaw(wanted)
