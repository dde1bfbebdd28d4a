"""One call of one webhook, and what its failure means for the request.

``ask`` sends the review and gives the verified answer; a call that fails raises ``CallingFailed``, whose
text is the one that users of Kubernetes know. ``failed_open`` decides by the failure policy.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from minikube_py.components.apiserver.admission.expressions.conditions import ConditionEvaluator
from minikube_py.components.apiserver.admission.matching import configures_admission, match
from minikube_py.components.apiserver.admission.subjects import ServedKinds, Subject, Target
from minikube_py.components.apiserver.admission.webhooks.hooks import Hook, HookSource
from minikube_py.components.apiserver.admission.webhooks.review import (
    Answer,
    InvalidResponse,
    refusal,
    review,
    review_version,
    verify,
)
from minikube_py.components.apiserver.admission.webhooks.transport import CallFailed, HookCaller
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.errors import ApiError, bad_request, go_quote, internal

log = logging.getLogger(__name__)
NewUid = Callable[[], str]
_CALL_FAILED, _INTERRUPTED = 400, 0
"""What kube-apiserver counts as the code of a webhook that gave no answer, and of one that was not waited for."""


class CallingFailed(Exception):
    """A webhook that should have been asked gave no valid answer."""

    def __init__(self, hook: Hook, why: str) -> None:
        super().__init__(f"failed calling webhook {go_quote(hook.name)}: {why}")


def random_uid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Asking:
    """The surroundings of one sort of webhooks. ``step`` is admit or validating, as metrics call it."""

    step: str
    source: HookSource
    caller: HookCaller
    kinds: ServedKinds
    namespaces: Lookup
    conditions: ConditionEvaluator
    metrics: AdmissionMetrics
    new_uid: NewUid = random_uid
    monotonic: Callable[[], float] = monotonic

    def subject(self, request: AdmissionRequest) -> Subject | None:
        """What webhooks see of a request; None for what none of them may see."""
        subject = Subject(request, self.kinds)
        return None if configures_admission(subject) else subject

    async def target(self, hook: Hook, subject: Subject) -> Target | None:
        """What a webhook is to be asked about; None when it does not want to know."""
        target = await match(subject, hook.criteria, self.namespaces)
        if target is None or not await self.conditions.all_hold(hook.conditions, subject, target):
            return None
        return target

    async def ask(self, hook: Hook, subject: Subject, target: Target, *, mutating: bool) -> Answer:
        """Ask a webhook as ``ask`` does, and count the call."""
        request, metrics = subject.request, self.metrics
        begin, code, rejected = self.monotonic(), _INTERRUPTED, True
        try:
            answer = await ask(self.caller, hook, subject, target, self.new_uid, mutating=mutating)
            code, rejected = 200, False
            return answer
        except ApiError as error:
            code = error.code
            metrics.rejection(hook.name, self.step, request.operation, "no_error", code)
            raise
        except CallingFailed:
            code, rejected = _CALL_FAILED, hook.fails_closed
            if rejected:
                metrics.rejection(hook.name, self.step, request.operation, "calling_webhook_error", code)
            else:
                metrics.fail_open(hook.name, self.step)
            raise
        finally:
            seconds = self.monotonic() - begin
            metrics.webhook(hook.name, self.step, request.operation, seconds, code=code, rejected=rejected)


async def ask(
    caller: HookCaller, hook: Hook, subject: Subject, target: Target, new_uid: NewUid, *, mutating: bool
) -> Answer:
    """The answer of a webhook that lets the request pass; its warnings and annotations are with the request.

    Raises CallingFailed, and ApiError when the webhook refuses or has side effects in a dry run.
    """
    request = subject.request
    if request.dry_run and hook.side_effects not in ("None", "NoneOnDryRun"):
        raise bad_request(f"admission webhook {go_quote(hook.name)} does not support dry run")
    uid = new_uid()
    try:
        version = review_version(hook.review_versions)
        question = review(subject, target, uid, version)
    except (InvalidResponse, ApiError) as error:
        raise CallingFailed(hook, f"could not create admission objects: {error}") from error
    try:
        answer = verify(
            await caller.call(hook.address, question, hook.timeout_seconds), uid, version, mutating=mutating
        )
    except CallFailed as error:
        what = "could not get REST client" if error.unusable else "failed to call webhook"
        raise CallingFailed(hook, f"{what}: {error}") from error
    except InvalidResponse as error:
        raise CallingFailed(hook, f"received invalid webhook response: {error}") from error
    for key, value in answer.audit_annotations.items():
        request.audit_annotations.setdefault(f"{hook.name}/{key}", value)
    request.warnings.extend(answer.warnings)
    if not answer.allowed:
        raise refusal(hook.name, answer.result)
    return answer


def failed_open(hook: Hook, error: CallingFailed, subject: Subject, annotation: str) -> None:
    """Go on without the webhook when its policy says so. Raises ApiError(500) when it does not."""
    if hook.fails_closed:
        log.warning("webhook failed, request refused", extra={"webhook": hook.name, "error": str(error)})
        raise internal(str(error)) from error
    log.warning("webhook failed, request goes on", extra={"webhook": hook.name, "error": str(error)})
    subject.request.audit_annotations.setdefault(annotation, hook.name)
