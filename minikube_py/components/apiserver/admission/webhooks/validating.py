"""ValidatingAdmissionWebhook: webhooks that may refuse a write; all that match are asked at the same time.

The request waits for all of them; of several refusals the first in the order of the configurations is
the one that is told. Follows ``plugin/webhook/validating``.
"""

from __future__ import annotations

import asyncio

from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.admission.webhooks.dispatch import (
    Asking,
    CallingFailed,
    failed_open,
)
from minikube_py.components.apiserver.admission.webhooks.hooks import Hook
from minikube_py.components.apiserver.metrics.admission import VALIDATE
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.errors import ApiError


class ValidatingAdmissionWebhook:
    """See the module."""

    name = "ValidatingAdmissionWebhook"
    phases = (VALIDATE,)

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._asking.source.hooks())

    async def admit(self, request: AdmissionRequest) -> None:
        """Validating webhooks change nothing."""

    async def validate(self, request: AdmissionRequest) -> None:
        subject = self._asking.subject(request)
        if subject is None:
            return
        chosen: list[tuple[Hook, Target]] = []
        for hook in self._asking.source.hooks():
            target = await self._asking.target(hook, subject)
            if target is not None:
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
            await self._asking.ask(hook, subject, target, mutating=False)
        except ApiError as error:
            return error
        except CallingFailed as error:
            where = f"failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
            try:
                failed_open(hook, error, subject, where)
            except ApiError as refused:
                return refused
        return None
