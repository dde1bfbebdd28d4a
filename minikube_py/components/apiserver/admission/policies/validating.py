"""ValidatingAdmissionPolicy: rules in CEL about what is written.

For each policy that matches, each binding that matches and each of its parameters, all validations are
evaluated; what fails is denied, warned of or noted for the audit log, as the binding says. All policies are
evaluated before the first denial is told. Follows ``policy/validating``, with its texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minikube_py.components.apiserver.admission.expressions.authorizing import Authorizations
from minikube_py.components.apiserver.admission.expressions.conditions import ConditionsFailed
from minikube_py.components.apiserver.admission.expressions.evaluation import (
    ExpressionFailed,
    OutOfBudget,
)
from minikube_py.components.apiserver.admission.policies.evaluating import Evaluating, Scope
from minikube_py.components.apiserver.admission.policies.matched import (
    Match,
    Problem,
)
from minikube_py.components.apiserver.admission.policies.source import Validation
from minikube_py.components.apiserver.admission.refusal import request_name
from minikube_py.components.apiserver.admission.subjects import Subject
from minikube_py.components.apiserver.metrics.admission import VALIDATE
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.errors import ApiError, forbidden
from minikube_py.machinery.kinds.common.go_text import go_json
from minikube_py.machinery.objects import Object

longest_message_bytes = 5 * 1024
longest_annotation_bytes = 10 * 1024
_FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Denial:
    """Something that a policy objects to; ``binding`` is empty when the policy itself is at fault."""

    policy: str
    binding: str
    message: str
    reason: str = ""

    def text(self) -> str:
        bound = f" with binding '{self.binding}'" if self.binding else ""
        return f"ValidatingAdmissionPolicy '{self.policy}'{bound} denied request: {self.message}"


@dataclass(slots=True)
class _Findings:
    """What one policy found in one request."""

    denials: list[Denial] = field(default_factory=list)
    annotations: dict[str, list[str]] = field(default_factory=dict)


class ValidatingAdmissionPolicy:
    """See the module."""

    name = "ValidatingAdmissionPolicy"
    phases = (VALIDATE,)

    def __init__(self, evaluating: Evaluating) -> None:
        self._evaluating = evaluating

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._evaluating.source.policies())

    async def admit(self, request: AdmissionRequest) -> None:
        """Validating policies change nothing."""

    async def validate(self, request: AdmissionRequest) -> None:
        subject = self._evaluating.subject(request)
        if subject is None:
            return
        authorizations = self._evaluating.authorizations(subject)
        denials: list[Denial] = []
        for policy in self._evaluating.source.policies():
            found = _Findings()
            async for match in self._evaluating.matches(policy, subject):
                if isinstance(match, Problem):
                    if policy.fails_closed:
                        found.denials.append(Denial(policy.name, match.binding, match.text))
                else:
                    await self._judge(match, subject, authorizations, found)
            for key, values in found.annotations.items():
                request.audit_annotations.setdefault(f"{policy.name}/{key}", ", ".join(dict.fromkeys(values)))
            denials += found.denials
        if denials:
            raise refused(subject, denials[0])

    async def _judge(self, match: Match, subject: Subject, authorizations: Authorizations, found: _Findings) -> None:
        """Evaluate one policy under one binding with one parameter."""
        policy, closed = match.policy, match.policy.fails_closed
        try:
            if not await self._evaluating.holds(match, subject, authorizations):
                return
        except ConditionsFailed as error:
            self._act(match, subject, found, 0, Denial(policy.name, match.binding.name, str(error)))
            return
        values = await self._evaluating.values(match, subject)
        scope = Scope(policy, values, authorizations)
        try:
            failures = await _failures(match, scope)
        except OutOfBudget as error:
            if closed:
                self._act(match, subject, found, 0, Denial(policy.name, match.binding.name, str(error)))
            return
        for index, denial in failures:
            self._act(match, subject, found, index, denial)
        await self._annotate(match, Scope(policy, values, authorizations), found)

    def _act(self, match: Match, subject: Subject, found: _Findings, index: int, denial: Denial) -> None:
        """What the binding wants done about a failure."""
        request = subject.request
        for action in match.binding.actions:
            if action == "Deny":
                found.denials.append(denial)
            elif action == "Warn":
                request.warnings.append(
                    f"Validation failed for ValidatingAdmissionPolicy '{denial.policy}' with binding "
                    f"'{denial.binding}': {denial.message}"
                )
            elif action == "Audit":
                note = {
                    "message": denial.message,
                    "policy": denial.policy,
                    "binding": denial.binding,
                    "expressionIndex": index,
                    "validationActions": list(match.binding.actions),
                }
                request.audit_annotations.setdefault(_FAILURE_ANNOTATION, go_json([note]))

    async def _annotate(self, match: Match, scope: Scope, found: _Findings) -> None:
        """The audit annotations of a policy; a failing one is a denial when the policy fails closed."""
        for annotation in match.policy.audit_annotations:
            try:
                value = await scope.evaluate(annotation.expression)
            except ExpressionFailed as error:
                if match.policy.fails_closed:
                    found.denials.append(Denial(match.policy.name, match.binding.name, str(error)))
                if isinstance(error, OutOfBudget):
                    return
                continue
            text = value.strip() if isinstance(value, str) else ""
            if text:
                kept = text.encode()[:longest_annotation_bytes].decode(errors="ignore")
                found.annotations.setdefault(annotation.key, []).append(kept)


async def _failures(match: Match, scope: Scope) -> list[tuple[int, Denial]]:
    """The validations that fail, by their index; all are evaluated before any message. Raises OutOfBudget."""
    policy, binding = match.policy, match.binding
    failed: list[tuple[int, str]] = []
    for index, validation in enumerate(policy.validations):
        try:
            if await scope.evaluate(validation.expression) is not True:
                failed.append((index, ""))
        except OutOfBudget:
            raise
        except ExpressionFailed as error:
            if policy.fails_closed:
                failed.append((index, str(error)))
    denials = []
    for index, error_text in failed:
        validation = policy.validations[index]
        message = error_text or await _message(validation, scope)
        denials.append((index, Denial(policy.name, binding.name, message, "" if error_text else validation.reason)))
    return denials


async def _message(validation: Validation, scope: Scope) -> str:
    """What a failed validation says: its message expression, else its message, else the expression itself."""
    text = ""
    if validation.message_expression is not None:
        try:
            value = await scope.evaluate(validation.message_expression)
        except ExpressionFailed:
            value = None
        text = value.strip() if isinstance(value, str) else ""
        if "\n" in text or len(text.encode()) > longest_message_bytes:
            text = ""
    return text or validation.message.strip() or f"failed expression: {validation.expression.text.strip()}"


def refused(subject: Subject, denial: Denial) -> ApiError:
    """The error that the first denial makes of the request."""
    target, message, reason = subject.target, denial.text(), denial.reason or "Invalid"
    plain = forbidden(target.group, target.plural, request_name(subject.request), message)
    details: Object = {**(plain.details or {}), "causes": [{"message": message}]}
    return ApiError(_CODES.get(reason, 422), reason, plain.message, details=details)
