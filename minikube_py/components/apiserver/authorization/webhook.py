"""Webhook authorizer: a remote service decides by SubjectAccessReviews.

Match conditions keep away what the service does not care for; its answers are remembered for as long as
the configuration says, allowed and refused ones apart. Equal questions at one time are asked once. Same
rules as ``plugin/pkg/authorizer/webhook``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.authorization.configuration import WebhookSettings
from minikube_py.components.apiserver.authorization.match_conditions import ConditionFailed, all_match
from minikube_py.components.apiserver.authorization.rules import Rule
from minikube_py.components.apiserver.authorization.selectors import field_requirements, label_requirements
from minikube_py.components.apiserver.authorization.union import AuthorizerError
from minikube_py.components.apiserver.types import Attributes, Decision, UserInfo
from minikube_py.components.apiserver.webhook_client import Webhook, WebhookError
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object

log = logging.getLogger(__name__)

most_entries = 8192
longest_remembered_question = 10_000
"""Questions with more of what the requester chooses are not remembered: they may be made to fill the memory."""

_Answer = tuple[Decision, str]
_Key = tuple[str, str, tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...], Attributes]


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: _Answer
    ends: float


class WebhookAuthorizer:
    """Asks one service. Raises AuthorizerError when it cannot answer; its decision is the failure policy's."""

    def __init__(self, name: str, settings: WebhookSettings, webhook: Webhook, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._webhook = webhook
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._running: dict[_Key, asyncio.Task[_Answer]] = {}
        self._on_failure = Decision.DENY if settings.deny_on_failure else Decision.NO_OPINION

    async def authorize(self, user: UserInfo, attributes: Attributes) -> _Answer:
        if self._settings.match_conditions:
            try:
                if not all_match(self._settings.match_conditions, full_spec(user, attributes)):
                    return Decision.NO_OPINION, ""
            except ConditionFailed as error:
                raise self._failed(str(error)) from error
        extra = tuple(sorted(user.extra.items()))
        key = (user.name, user.uid, user.groups, extra, attributes)
        found = self._entries.get(key)
        if found is not None and self._clock.monotonic() < found.ends:
            return found.answer
        return await self._ask_once(key, user, attributes)

    lists_incompletely = True

    async def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        """A service cannot list what it would allow."""
        return [], ["webhook authorizer does not support user rule resolution"]

    async def close(self) -> None:
        """Close the connections."""
        await self._webhook.close()

    async def _ask_once(self, key: _Key, user: UserInfo, attributes: Attributes) -> _Answer:
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, user, attributes), name=f"authorization-webhook {self.name}")
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: _Key, task: asyncio.Task[_Answer]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, even when every request that waited has gone away

    async def _ask(self, key: _Key, user: UserInfo, attributes: Attributes) -> _Answer:
        question = {
            "kind": "SubjectAccessReview",
            "apiVersion": f"authorization.k8s.io/{self._settings.version}",
            "metadata": {},
            "spec": review_spec(user, attributes, self._settings.version),
        }
        try:
            status = (await self._webhook.ask(question))["status"]
            answer = _read(status)
        except WebhookError as error:
            log.warning("authorization webhook failed", extra={"webhook": self.name, "error": str(error)})
            raise self._failed(str(error)) from error
        allowed = answer[0] is Decision.ALLOW
        ttl = self._settings.authorized_ttl_seconds if allowed else self._settings.unauthorized_ttl_seconds
        self._entries.pop(key, None)
        if ttl > 0 and _controlled_length(attributes) < longest_remembered_question:
            if len(self._entries) >= most_entries:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = _Entry(answer, self._clock.monotonic() + ttl)
        return answer

    def _failed(self, why: str) -> AuthorizerError:
        return AuthorizerError(self._on_failure, why)


def _read(status: Mapping[str, Any]) -> _Answer:
    reason = status.get("reason") or ""
    allowed, denied = status.get("allowed", False), status.get("denied", False)
    if not isinstance(reason, str) or not isinstance(allowed, bool) or not isinstance(denied, bool):
        raise WebhookError("the answer's status is malformed")
    if allowed and denied:
        raise AuthorizerError(Decision.DENY, "webhook subject access review returned both allow and deny response")
    if denied:
        return Decision.DENY, reason
    return (Decision.ALLOW if allowed else Decision.NO_OPINION), reason


def _controlled_length(a: Attributes) -> int:
    texts = (a.namespace, a.verb, a.group, a.version, a.resource, a.subresource, a.name, a.path)
    return sum(map(len, texts)) + len(a.label_selector) + len(a.field_selector)


def review_spec(user: UserInfo, attributes: Attributes, version: str = "v1") -> Object:
    """The spec of a SubjectAccessReview about the request, without empty fields."""
    spec = _compact(full_spec(user, attributes))
    if version == "v1beta1" and "groups" in spec:
        spec["group"] = spec.pop("groups")  # v1beta1 spells the field so
    return spec


def full_spec(user: UserInfo, attributes: Attributes) -> Object:
    """The spec with every text field of the user and of the attributes, as expressions see it."""
    spec: Object = {
        "user": user.name,
        "groups": list(user.groups),
        "uid": user.uid,
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    a = attributes
    if not a.resource_request:
        spec["nonResourceAttributes"] = {"path": a.path, "verb": a.verb}
        return spec
    resource: Object = {
        "namespace": a.namespace,
        "verb": a.verb,
        "group": a.group,
        "version": a.version,
        "resource": a.resource,
        "subresource": a.subresource,
        "name": a.name,
    }
    if a.field_selector and (requirements := field_requirements(a.field_selector)):
        resource["fieldSelector"] = {"requirements": list(requirements)}
    if a.label_selector and (requirements := label_requirements(a.label_selector)):
        resource["labelSelector"] = {"requirements": list(requirements)}
    spec["resourceAttributes"] = resource
    return spec


def _compact(spec: Object) -> Object:
    kept = {key: value for key, value in spec.items() if value}
    for key in ("resourceAttributes", "nonResourceAttributes"):
        if key in spec:
            kept[key] = {name: value for name, value in spec[key].items() if value}
    return kept
