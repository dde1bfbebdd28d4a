"""MutatingAdmissionWebhook: webhooks that change what is written, one after the other.

When a webhook changed the object, the chain runs once more (``PluginChain.admit``), and of the webhooks
those are asked again that want it and whose object has changed since they saw it. Follows
``plugin/webhook/mutating``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from minikube_py.components.apiserver.admission.expressions.conditions import ConditionEvaluator
from minikube_py.components.apiserver.admission.matching import configures_admission, match
from minikube_py.components.apiserver.admission.subjects import ServedKinds, Subject, Target
from minikube_py.components.apiserver.admission.webhooks.dispatch import (
    CallingFailed,
    Measured,
    NewUid,
    failed_open,
    random_uid,
)
from minikube_py.components.apiserver.admission.webhooks.hooks import Hook, HookSource
from minikube_py.components.apiserver.admission.webhooks.review import Answer
from minikube_py.components.apiserver.admission.webhooks.transport import HookCaller
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.errors import ApiError, go_quote, internal
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.patching.json_patch import apply_json_patch, why_not_applied


@dataclass(slots=True)
class _Memory:
    """What the plugin knows of a request between two rounds."""

    called: set[str] = field(default_factory=set)
    """Webhooks that were asked and want to be asked again after changes."""
    again: set[str] = field(default_factory=set)
    """Those of them whose object has changed since."""
    output: Object | None = None

    def changed(self) -> None:
        self.again |= self.called
        self.called = set()


class MutatingAdmissionWebhook:
    """See the module."""

    name = "MutatingAdmissionWebhook"

    def __init__(
        self,
        source: HookSource,
        caller: HookCaller,
        kinds: ServedKinds,
        namespaces: Lookup,
        conditions: ConditionEvaluator,
        new_uid: NewUid = random_uid,
        metrics: AdmissionMetrics | None = None,
    ) -> None:
        self._asking = Measured(metrics or AdmissionMetrics(), "admit")
        self._source = source
        self._caller = caller
        self._kinds = kinds
        self._namespaces = namespaces
        self._conditions = conditions
        self._new_uid = new_uid

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._source.hooks())

    async def validate(self, request: AdmissionRequest) -> None:
        """Mutating webhooks have no say any more."""

    async def admit(self, request: AdmissionRequest) -> None:
        subject = Subject(request, self._kinds)
        if configures_admission(subject):
            return
        rounds = request.reinvocation
        memory: _Memory = rounds.memory.setdefault(self.name, _Memory())
        if rounds.again and memory.output != request.object:
            memory.changed()
        try:
            for index, hook in enumerate(self._source.hooks()):
                target = await match(subject, hook.criteria, self._namespaces)
                if target is None or not await self._conditions.all_hold(hook.conditions, subject, target):
                    continue
                if rounds.again and hook.uid not in memory.again:
                    continue
                memory.again.discard(hook.uid)
                if await self._call(hook, subject, target, f"round_{int(rounds.again)}_index_{index}"):
                    memory.changed()
                    rounds.wanted = True
                if hook.reinvoked:
                    memory.called.add(hook.uid)
        finally:
            memory.output = thaw(request.object) if rounds.wanted else None

    async def _call(self, hook: Hook, subject: Subject, target: Target, where: str) -> bool:
        """Ask one webhook and make its changes; returns whether there were any. Raises ApiError."""
        try:
            answer = await self._asking.ask(self._caller, hook, subject, target, self._new_uid, mutating=True)
            changed = await self._patch(hook, subject, target, answer)
        except CallingFailed as error:
            failed_open(hook, error, subject, f"failed-open.mutation.webhook.admission.k8s.io/{where}")
            return False
        note = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
        subject.request.audit_annotations[f"mutation.webhook.admission.k8s.io/{where}"] = orjson.dumps(note).decode()
        return changed

    async def _patch(self, hook: Hook, subject: Subject, target: Target, answer: Answer) -> bool:
        operations = _operations(answer.patch)
        if not operations:
            return False
        obj, _ = subject.view(target)
        if obj is None:
            raise internal(
                f"admission webhook {go_quote(hook.name)} attempted to modify the object, which is not supported "
                "for this operation"
            )
        if answer.patch_type != "JSONPatch":
            raise CallingFailed(hook, f"unsupported patch type {go_quote(answer.patch_type)}")
        try:
            changed = apply_json_patch(obj, operations)
        except ApiError as error:
            raise internal(why_not_applied(error)) from error
        return await subject.accept(target, changed)


def _operations(patch: bytes) -> Sequence[Any]:
    """The operations of a JSON patch. Raises ApiError(500)."""
    if not patch:
        return ()
    try:
        decoded = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        from minikube_py.machinery.json_errors import explain

        raise internal(explain(patch) or str(error)) from error
    if decoded is None:
        return ()
    if not isinstance(decoded, list):
        raise internal("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    return decoded
