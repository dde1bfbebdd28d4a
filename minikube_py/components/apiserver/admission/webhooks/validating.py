"""ValidatingAdmissionWebhook: webhooks that may refuse a write; all that match are asked at the same time.

The request waits for all of them; of several refusals the first in the order of the configurations is
the one that is told. Follows ``plugin/webhook/validating``.
"""

from __future__ import annotations

import asyncio

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
from minikube_py.components.apiserver.admission.webhooks.transport import HookCaller
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.errors import ApiError


class ValidatingAdmissionWebhook:
    """See the module."""

    name = "ValidatingAdmissionWebhook"

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
        self._asking = Measured(metrics or AdmissionMetrics(), "validating")
        self._source = source
        self._caller = caller
        self._kinds = kinds
        self._namespaces = namespaces
        self._conditions = conditions
        self._new_uid = new_uid

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._source.hooks())

    async def admit(self, request: AdmissionRequest) -> None:
        """Validating webhooks change nothing."""

    async def validate(self, request: AdmissionRequest) -> None:
        subject = Subject(request, self._kinds)
        if configures_admission(subject):
            return
        chosen: list[tuple[Hook, Target]] = []
        for hook in self._source.hooks():
            target = await match(subject, hook.criteria, self._namespaces)
            if target is not None and await self._conditions.all_hold(hook.conditions, subject, target):
                chosen.append((hook, target))
        if not chosen:
            return
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(self._call(hook, subject, target, index))
                for index, (hook, target) in enumerate(chosen)
            ]
        refused = next((error for task in asked if (error := task.result()) is not None), None)
        if refused is not None:
            raise refused

    async def _call(self, hook: Hook, subject: Subject, target: Target, index: int) -> ApiError | None:
        """Ask one webhook; returns its refusal."""
        try:
            await self._asking.ask(self._caller, hook, subject, target, self._new_uid, mutating=False)
        except ApiError as error:
            return error
        except CallingFailed as error:
            where = f"failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
            try:
                failed_open(hook, error, subject, where)
            except ApiError as refused:
                return refused
        return None
