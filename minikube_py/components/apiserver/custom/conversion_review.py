"""The ConversionReview that a conversion webhook is asked with, and what of its answer is believed.

Pure functions with the texts of apiextensions' ``webhook_converter.go``. Versions v1 and v1beta1 of the review are
spoken. A webhook may change labels and annotations of the metadata; everything else in it stays what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.kinds.common.metadata import annotation_errors, label_errors
from minikube_py.machinery.objects import Object

GROUP = "apiextensions.k8s.io"
_SPOKEN = ("v1", "v1beta1")


class InvalidAnswer(Exception):
    """An answer that cannot be used; the text says why."""


def review_version(offered: Sequence[str]) -> str:
    """The first version of the review that both sides speak. Raises InvalidAnswer."""
    for version in offered:
        if version in _SPOKEN:
            return version
    raise InvalidAnswer("no supported conversion review versions")


def question(objects: Sequence[Object], wanted: str, uid: str, version: str) -> Object:
    """The review that asks for ``objects`` in the ``apiVersion`` that is wanted."""
    request = {"uid": uid, "desiredAPIVersion": wanted, "objects": objects}
    return {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def converted_objects(answer: Object, uid: str, version: str) -> list[Any]:
    """The objects in an answer, not yet looked at. Raises InvalidAnswer."""
    if version == "v1":
        group, _, found = str(answer.get("apiVersion") or "").rpartition("/")
        kind = answer.get("kind") or ""
        if (group, found, kind) != (GROUP, version, "ConversionReview"):
            wanted = f"{GROUP}/{version}, Kind=ConversionReview"
            raise InvalidAnswer(f"expected webhook response of {wanted}, got {group}/{found}, Kind={kind}")
    response = answer.get("response")
    if response is None:
        raise InvalidAnswer("no response provided")
    if not isinstance(response, dict):
        raise _misfit(response, "response", "ConversionResponse")
    if version == "v1" and response.get("uid") != uid:
        raise InvalidAnswer(f"expected response.uid={go_quote(uid)}, got {go_quote(str(response.get('uid') or ''))}")
    _check_result(response.get("result") or {})
    objects = response.get("convertedObjects") or []
    if not isinstance(objects, list):
        raise _misfit(objects, "response.convertedObjects", "[]runtime.RawExtension")
    return objects


def _check_result(result: Any) -> None:
    if not isinstance(result, dict):
        raise _misfit(result, "response.result", "Status")
    if result.get("status") != "Success":
        message = result.get("message") or f"response.result.status was '{result.get('status') or ''}', not 'Success'"
        raise InvalidAnswer(str(message))


def _misfit(value: Any, field: str, type: str) -> InvalidAnswer:
    names = {dict: "object", list: "array", str: "string", bool: "bool"}
    found = names.get(value.__class__, "number")
    where = f"Go struct field ConversionReview.{field} of type {type}"
    return InvalidAnswer(f"json: cannot unmarshal {found} into {where}")


def checked(original: Object, answer: Any, wanted: str) -> Object:
    """The converted object with the original's metadata but for labels and annotations. Raises InvalidAnswer.

    The text goes after ``conversion webhook for <type> ``.
    """
    if not isinstance(answer, dict) or not answer.get("kind"):
        raise InvalidAnswer(f"failed: Object 'Kind' is missing in '{orjson.dumps(answer).decode()}'")
    version, kind = str(answer.get("apiVersion") or ""), str(answer["kind"])
    if version != wanted:
        raise InvalidAnswer(_at_zero(f"invalid groupVersion (expected {wanted}, received {version})"))
    if kind != original["kind"]:
        raise InvalidAnswer(_at_zero(f"invalid kind (expected {original['kind']}, received {kind})"))
    before, meta = original["metadata"], answer.get("metadata")
    after = meta if isinstance(meta, dict) else {}
    for field, called in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if (before.get(field) or "") != (after.get(field) or ""):
            problem = f"must have the same {called}: {before.get(field) or ''} != {after.get(field) or ''}"
            raise InvalidAnswer(f"returned invalid object: {problem}")
    try:
        return {**answer, "metadata": _metadata(before, answer)}
    except InvalidAnswer as error:
        raise InvalidAnswer(f"returned invalid metadata: {error}") from error


def _at_zero(problem: str) -> str:
    return f"returned invalid object at index 0: {problem}"


def _metadata(before: Object, answer: Object) -> Object:
    """``restoreObjectMeta``."""
    if "metadata" not in answer:
        raise InvalidAnswer("missing metadata in converted object")
    after = answer["metadata"]
    if not isinstance(after, dict):
        raise InvalidAnswer(f"invalid metadata of type {_go_type(after)} in converted object")
    result = {key: value for key, value in before.items() if key not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        given = after.get(field)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise InvalidAnswer(f"invalid metadata.{field} of type {_go_type(given)} in converted object")
        for key, value in given.items():
            if not isinstance(value, str):
                text = f"metadata.{field}[{key}] must be a string, but is {_go_type(value)} in converted object"
                raise InvalidAnswer(text)
        if given != (before.get(field) or {}):
            _check_texts(field, given)
        result[field] = given
    return result


def _check_texts(field: str, given: dict[str, str]) -> None:
    errors = (
        label_errors("metadata.labels", given) if field == "labels" else annotation_errors("metadata.annotation", given)
    )
    texts = list(dict.fromkeys(f"{error.field}: {error.body()}" for error in errors))
    if texts:
        raise InvalidAnswer(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


def _go_type(value: Any) -> str:
    names = {
        dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int64",
        float: "float64",
    }  # fmt: skip
    return names.get(value.__class__, "<nil>")
