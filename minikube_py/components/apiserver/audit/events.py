"""Audit events: plain objects of ``audit.k8s.io/v1``, made from what the HTTP face knows about a request.

In: ``Record``, which gathers facts while the request is served. Out: one Event for each stage. Bodies are decoded
here, only at the levels that show them, and never changed. Same content as ``k8s.io/apiserver/pkg/audit/request.go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from minikube_py.components.apiserver.audit.policy import LEVEL_NAMES, VERSION, Decision, Level
from minikube_py.components.apiserver.types import PATCH_ANNOTATION, Attributes, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import rfc3339_micro

_LONGEST_AGENT = 1024


@dataclass(slots=True)
class Body:
    """A request's or answer's bytes with their media type, or the object itself where it never was bytes."""

    data: bytes = b""
    media_type: str = ""
    obj: Any = None


@dataclass(slots=True, kw_only=True)
class Record:
    """One audited request. ``annotations`` may grow until the last event is made."""

    decision: Decision
    audit_id: str
    uri: str
    user: UserInfo
    attributes: Attributes
    sources: Sequence[str]
    user_agent: str
    received: float
    impersonated: UserInfo | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    request: Body = field(default_factory=Body)


def event(record: Record, stage: str, now: float, *, code: int = 0, answer: Body | None = None) -> Object | None:
    """The event of a stage, None where the policy leaves the stage out. ``code`` 0: there is no answer yet."""
    decision, attributes = record.decision, record.attributes
    if decision.level is Level.NONE or stage in decision.omit_stages:
        return None
    made: Object = {
        "kind": "Event",
        "apiVersion": VERSION,
        "level": LEVEL_NAMES[decision.level],
        "auditID": record.audit_id,
        "stage": stage,
        "requestURI": record.uri,
        "verb": attributes.verb,
        "user": _user(record.user),
    }
    if record.impersonated is not None:
        made["impersonatedUser"] = _user(record.impersonated)
    made["sourceIPs"] = list(record.sources)
    if record.user_agent:
        made["userAgent"] = _shortened(record.user_agent)
    sent = _decoded(record.request) if stage != "RequestReceived" else None
    if attributes.resource_request:
        made["objectRef"] = _reference(attributes, sent)
    if code:
        answered = _decoded(answer) if answer is not None else None
        made["responseStatus"] = _status(code, answered)
        if sent is not None and decision.level >= Level.REQUEST:
            made["requestObject"] = _shown(sent, decision)
        if answered is not None and decision.level >= Level.REQUEST_RESPONSE:
            made["responseObject"] = _shown(answered, decision)
    made["requestReceivedTimestamp"] = rfc3339_micro(record.received)
    made["stageTimestamp"] = rfc3339_micro(now)
    if annotations := _annotations(record.annotations, decision.level):
        made["annotations"] = annotations
    return made


def _annotations(found: Mapping[str, str], level: Level) -> Object:
    """What may be shown at a level: patches are part of the request's body."""
    return {
        key: value
        for key, value in sorted(found.items())
        if level >= Level.REQUEST or not key.startswith(PATCH_ANNOTATION)
    }


def panic_event(record: Record, now: float, text: str) -> Object | None:
    """The event of a request that the server failed to serve."""
    made = event(record, "Panic", now, code=500)
    if made is not None:
        made["responseStatus"] |= {
            "status": "Failure",
            "reason": "InternalError",
            "message": f"APIServer panic'd: {text}",
        }
    return made


def _user(user: UserInfo) -> Object:
    shown: Object = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {name: list(values) for name, values in user.extra.items()}
    return shown


def _reference(attributes: Attributes, sent: Any) -> Object:
    """What the request is about; what a create's path does not say comes from its body."""
    meta: Mapping[str, Any] = {}
    if (
        isinstance(sent, Mapping)
        and attributes.verb in ("create", "update")
        and isinstance(sent.get("metadata"), Mapping)
    ):
        meta = sent["metadata"]
    parts = {
        "resource": attributes.resource,
        "namespace": attributes.namespace or meta.get("namespace"),
        "name": attributes.name or meta.get("name"),
        "uid": meta.get("uid"),
        "apiGroup": attributes.group,
        "apiVersion": attributes.version,
        "resourceVersion": meta.get("resourceVersion"),
        "subresource": attributes.subresource,
    }
    return {name: value for name, value in parts.items() if value}


def _status(code: int, answered: Any) -> Object:
    if isinstance(answered, Mapping) and answered.get("kind") == "Status":
        fields = ("status", "message", "reason", "details")
        return {"metadata": {}, **{name: answered[name] for name in fields if answered.get(name)}, "code": code}
    return {"metadata": {}, "code": code}


def _decoded(body: Body) -> Any:
    """The object of a body; None for an empty one and for one that cannot be read."""
    if body.obj is not None:
        return body.obj
    if not body.data:
        return None
    media_type = body.media_type.partition(";")[0].strip().lower()
    try:
        if media_type == "application/vnd.kubernetes.protobuf":
            from minikube_py.machinery.protobuf import decode as decode_protobuf

            return decode_protobuf(body.data)
        if media_type in ("application/yaml", "application/apply-patch+yaml"):
            from minikube_py.machinery.yaml_text import load_yaml

            return load_yaml(body.data)
        return orjson.loads(body.data)
    except (ValueError, ApiError):
        # Malformed requests are refused with a Status, which the event does show.
        return None


def _shown(obj: Any, decision: Decision) -> Any:
    """An object without what the policy leaves out."""
    if not decision.omit_managed_fields or not isinstance(obj, Mapping):
        return obj
    items = obj.get("items")
    shown = dict(obj)
    if isinstance(items, list):
        shown["items"] = [_shown(item, decision) for item in items]
    meta = obj.get("metadata")
    if isinstance(meta, Mapping) and "managedFields" in meta:
        shown["metadata"] = {name: value for name, value in meta.items() if name != "managedFields"}
    return shown


def _shortened(agent: str) -> str:
    return agent if len(agent) <= _LONGEST_AGENT else agent[:_LONGEST_AGENT] + "...TRUNCATED"
