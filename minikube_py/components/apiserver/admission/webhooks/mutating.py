"""MutatingAdmissionWebhook: webhooks that change what is written, one after the other.

When a webhook changed the object, the chain runs once more (``PluginChain.admit``), and of the webhooks
those are asked again that want it and whose object has changed since they saw it. Follows
``plugin/webhook/mutating``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from minikube_py.components.apiserver.admission.rounds import mutating_round
from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.admission.webhooks.dispatch import (
    Asking,
    CallingFailed,
    failed_open,
)
from minikube_py.components.apiserver.admission.webhooks.hooks import Hook
from minikube_py.components.apiserver.admission.webhooks.review import Answer
from minikube_py.components.apiserver.metrics.admission import ADMIT
from minikube_py.components.apiserver.registry.heavy import done
from minikube_py.components.apiserver.types import PATCH_ANNOTATION, AdmissionRequest
from minikube_py.machinery.decoding import json_kind
from minikube_py.machinery.errors import ApiError, go_quote, go_value, internal
from minikube_py.machinery.json_errors import explain
from minikube_py.machinery.kinds.common.go_text import go_json
from minikube_py.machinery.objects import Object
from minikube_py.machinery.patching.json_patch import apply_json_patch, why_not_applied


class MutatingAdmissionWebhook:
    """See the module."""

    name = "MutatingAdmissionWebhook"
    phases = (ADMIT,)

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._asking.source.hooks())

    async def validate(self, request: AdmissionRequest) -> None:
        """Mutating webhooks have no say any more."""

    async def admit(self, request: AdmissionRequest) -> None:
        subject = self._asking.subject(request)
        if subject is None:
            return
        rounds = request.reinvocation
        with mutating_round(request, self.name) as memory:
            for index, hook in enumerate(self._asking.source.hooks()):
                target = await self._asking.target(hook, subject)
                if target is None or (rounds.again and hook.uid not in memory.again):
                    continue
                memory.again.discard(hook.uid)
                if await self._call(hook, subject, target, f"round_{int(rounds.again)}_index_{index}"):
                    memory.changed()
                    rounds.wanted = True
                if hook.reinvoked:
                    memory.called.add(hook.uid)

    async def _call(self, hook: Hook, subject: Subject, target: Target, where: str) -> bool:
        """Ask one webhook and make its changes; returns whether there were any. Raises ApiError."""
        annotations = subject.request.audit_annotations
        head, changed = {"configuration": hook.configuration, "webhook": hook.name}, False
        try:
            answer = await self._asking.ask(hook, subject, target, mutating=True)
            operations = _operations(hook, answer.patch)
            changed = bool(operations) and await self._patch(hook, subject, target, answer, operations)
        except CallingFailed as error:
            failed_open(hook, error, subject, f"failed-open.mutation.webhook.admission.k8s.io/{where}")
            return False
        finally:
            annotations[f"mutation.webhook.admission.k8s.io/{where}"] = go_json({**head, "mutated": changed})
        if operations:
            patch = [dict(sorted(operation.items())) for operation in operations]
            annotations[f"{PATCH_ANNOTATION}{where}"] = go_json(
                {**head, "patch": patch, "patchType": answer.patch_type}
            )
        return changed

    async def _patch(
        self, hook: Hook, subject: Subject, target: Target, answer: Answer, operations: Sequence[Any]
    ) -> bool:
        obj, _ = subject.view(target)
        if obj is None:
            raise internal(
                f"admission webhook {go_quote(hook.name)} attempted to modify the object, which is not supported "
                "for this operation"
            )
        if answer.patch_type != "JSONPatch":
            raise CallingFailed(hook, f"unsupported patch type {go_quote(answer.patch_type)}")
        try:
            changed = await done(subject.request.large, partial(apply_json_patch, obj, operations))
        except ApiError as error:
            raise internal(why_not_applied(error)) from error
        _check_type(hook, obj, changed)
        return await subject.accept(target, changed)


def _operations(hook: Hook, patch: bytes) -> Sequence[Any]:
    """The operations of a JSON patch. Raises CallingFailed."""
    if not patch:
        return ()
    try:
        decoded = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise _undecodable(hook, explain(patch) or str(error)) from error
    if decoded is None:
        return ()
    if not isinstance(decoded, list):
        raise _undecodable(hook, f"json: cannot unmarshal {json_kind(decoded)} into Go value of type jsonpatch.Patch")
    for operation in decoded:
        if not isinstance(operation, dict) and operation is not None:
            found = json_kind(operation)
            raise _undecodable(hook, f"json: cannot unmarshal {found} into Go value of type jsonpatch.Operation")
    return decoded


def _check_type(hook: Hook, before: Object, after: Any) -> None:
    """An object stays of its kind; without one it is taken for what it was. Raises ApiError(500), as a failed
    conversion does in Kubernetes.
    """
    for field in ("apiVersion", "kind"):
        given = after.get(field) if isinstance(after, dict) else None
        if given and given != before.get(field):
            raise internal(
                f"admission webhook {go_quote(hook.name)} made {go_value(given)} of the object's {field} "
                f"{go_value(before.get(field))}, which is not supported"
            )


def _undecodable(hook: Hook, why: str) -> CallingFailed:
    return CallingFailed(hook, f"received undecodable patch in webhook response: {why}")
