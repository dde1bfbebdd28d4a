"""AdmissionReview: the question that is sent and the answer that is believed.

Pure functions. ``verify`` refuses what Kubernetes' ``webhook/request.VerifyAdmissionResponse`` refuses,
in its words; ``refusal`` makes the Status of a webhook that said no.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import ApiError, go_quote
from minikube_py.machinery.objects import Object

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")


class InvalidResponse(Exception):
    """An answer that cannot be believed; the text is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook decided. ``patch`` is the bytes of a JSON patch, empty for none."""

    allowed: bool
    patch: bytes = b""
    patch_type: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    audit_annotations: Mapping[str, str] = field(default_factory=dict)


def review_version(offered: tuple[str, ...]) -> str:
    """The first version in a webhook's list that this server speaks. Raises InvalidResponse."""
    for version in offered:
        if version in VERSIONS:
            return version
    raise InvalidResponse("webhook does not accept known AdmissionReview versions (v1, v1beta1)")


def request_fields(subject: Subject, target: Target) -> Object:
    """``AdmissionRequest`` without uid and objects, which is also CEL's ``request`` variable."""
    made, request = subject.target, subject.request
    fields: Object = {
        "kind": target.type.json(),
        "resource": target.resource_json(),
        "requestKind": made.type.json(),
        "requestResource": made.resource_json(),
        "operation": subject.operation,
        "userInfo": user_json(request.user),
        "dryRun": request.dry_run,
        "options": request.options or None,
    }
    if target.subresource:
        fields["subResource"] = target.subresource
    if made.subresource:
        fields["requestSubResource"] = made.subresource
    if subject.name:
        fields["name"] = subject.name
    if subject.namespace:
        fields["namespace"] = subject.namespace
    return fields


def review(subject: Subject, target: Target, uid: str, version: str) -> Object:
    """The AdmissionReview that asks about a request; its objects are shared with it."""
    obj, old = subject.view(target)
    fields = request_fields(subject, target)
    fields.update(uid=uid, object=obj, oldObject=old)
    return {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": fields}


def user_json(user: UserInfo) -> Object:
    """``authentication.k8s.io/v1 UserInfo``."""
    result: Object = {}
    if user.name:
        result["username"] = user.name
    if user.uid:
        result["uid"] = user.uid
    if user.groups:
        result["groups"] = list(user.groups)
    if user.extra:
        result["extra"] = {key: list(values) for key, values in user.extra.items()}
    return result


def verify(answer: Mapping[str, Any], uid: str, version: str, *, mutating: bool) -> Answer:
    """The decision in an answer. Raises InvalidResponse."""
    response = answer.get("response")
    if not isinstance(response, dict):
        raise InvalidResponse("webhook response was absent")
    patch, patch_type = _patch(response), response.get("patchType")
    if version == "v1":
        _verify_v1(answer, response, uid, patch, patch_type, mutating=mutating)
    elif mutating and patch:
        patch_type = "JSONPatch"
    return Answer(
        allowed=response.get("allowed") is True,
        patch=patch if mutating else b"",
        patch_type=str(patch_type or ""),
        result=_typed(response, "status", dict, {}),
        warnings=tuple(str(text) for text in _typed(response, "warnings", list, [])),
        audit_annotations={str(k): str(v) for k, v in _typed(response, "auditAnnotations", dict, {}).items()},
    )


def _verify_v1(
    answer: Mapping[str, Any], response: Mapping[str, Any], uid: str, patch: bytes, patch_type: Any, *, mutating: bool
) -> None:
    if response.get("uid") != uid:
        found = go_quote(str(response.get("uid") or ""))
        raise InvalidResponse(f"expected response.uid={go_quote(uid)}, got {found}")
    api_version, kind = str(answer.get("apiVersion") or ""), str(answer.get("kind") or "")
    if (api_version, kind) != (f"{GROUP}/v1", "AdmissionReview"):
        shown = api_version if "/" in api_version else f"/{api_version}"
        raise InvalidResponse(
            f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {shown}, Kind={kind}"
        )
    if not mutating and patch:
        raise InvalidResponse("validating webhook may not return response.patch")
    if not mutating and patch_type is not None:
        raise InvalidResponse("validating webhook may not return response.patchType")
    if patch and patch_type is None:
        raise InvalidResponse("webhook returned response.patch but not response.patchType")
    if not patch and patch_type is not None:
        raise InvalidResponse("webhook returned response.patchType but not response.patch")
    if patch_type == "":
        raise InvalidResponse('webhook returned invalid response.patchType of ""')


def _patch(response: Mapping[str, Any]) -> bytes:
    text = _typed(response, "patch", str, "")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidResponse("response.patch is not base64") from None


def _typed(response: Mapping[str, Any], name: str, wanted: type, default: Any) -> Any:
    value = response.get(name)
    if value is None:
        return default
    if not isinstance(value, wanted):
        raise InvalidResponse(f"response.{name} has a wrong type")
    return value


def refusal(webhook: str, result: Mapping[str, Any]) -> ApiError:
    """The error of a request that a webhook refused (``webhook/errors.ToStatusErr``)."""
    denied = f"admission webhook {go_quote(webhook)} denied the request"
    code, message, reason = result.get("code"), str(result.get("message") or ""), str(result.get("reason") or "")
    if message or reason:
        message = f"{denied}: {message or reason}"
    else:
        message = f"{denied} without explanation"
    details = result.get("details")
    return ApiError(
        code if isinstance(code, int) and 400 <= code <= 999 else 400,
        reason,
        message,
        details=details if isinstance(details, dict) else None,
    )
