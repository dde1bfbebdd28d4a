"""MutatingAdmissionPolicy: changes of what is written, in CEL.

An ApplyConfiguration gives an object whose fields are merged into the draft as server-side apply would,
without owning them; a JSONPatch gives operations. Policies see each other's changes; when an object was
changed, the chain runs once more, and of the policies those again that want it. Follows ``policy/mutating``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from minikube_py.components.apiserver.admission.expressions.authorizing import Authorizations
from minikube_py.components.apiserver.admission.expressions.conditions import ConditionsFailed
from minikube_py.components.apiserver.admission.expressions.evaluation import (
    ExpressionFailed,
)
from minikube_py.components.apiserver.admission.policies.applying import CannotApply, apply_configuration
from minikube_py.components.apiserver.admission.policies.evaluating import Evaluating, Scope
from minikube_py.components.apiserver.admission.policies.matched import (
    Match,
)
from minikube_py.components.apiserver.admission.policies.source import Mutation
from minikube_py.components.apiserver.admission.refusal import request_name
from minikube_py.components.apiserver.admission.rounds import Memory, mutating_round
from minikube_py.components.apiserver.admission.subjects import Subject
from minikube_py.components.apiserver.metrics.admission import ADMIT
from minikube_py.components.apiserver.registry.heavy import done
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.decoding import unknown_fields
from minikube_py.machinery.errors import ApiError, forbidden, internal
from minikube_py.machinery.objects import Object, key_of, thaw
from minikube_py.machinery.patching.json_patch import apply_json_patch, is_failed_test, why_not_applied
from minikube_py.machinery.schema import Schema


@dataclass(frozen=True, slots=True)
class _Failure:
    """A policy that could not do its work."""

    text: str
    reason: str


class MutatingAdmissionPolicy:
    """See the module."""

    name = "MutatingAdmissionPolicy"
    phases = (ADMIT,)

    def __init__(self, evaluating: Evaluating) -> None:
        self._evaluating = evaluating

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._evaluating.source.policies())

    async def validate(self, request: AdmissionRequest) -> None:
        """Mutating policies have no say any more."""

    async def admit(self, request: AdmissionRequest) -> None:
        subject = self._evaluating.subject(request)
        if subject is None:
            return
        failures: list[_Failure] = []
        with mutating_round(request, self.name) as memory:
            matches: list[Match] = []
            for policy in self._evaluating.source.policies():
                async for match in self._evaluating.matches(policy, subject):
                    if isinstance(match, Match):
                        matches.append(match)
                    elif policy.fails_closed:
                        failures.append(_Failure(_denied(policy.name, match.binding, match.text), ""))
            authorizations = self._evaluating.authorizations(subject)
            for match in matches:
                await self._invoke(match, subject, authorizations, memory, failures)
        if failures:
            raise _refused(subject, failures)

    async def _invoke(
        self,
        match: Match,
        subject: Subject,
        authorizations: Authorizations,
        memory: Memory,
        failures: list[_Failure],
    ) -> None:
        """Make the changes of one policy under one binding with one parameter."""
        policy, rounds = match.policy, subject.request.reinvocation
        key = (policy.name, match.binding.name, key_of(match.params) if match.params is not None else "")
        try:
            if not await self._evaluating.holds(match, subject, authorizations):
                return
        except ConditionsFailed as error:
            failures.append(_Failure(_denied(policy.name, match.binding.name, str(error)), "Invalid"))
            return
        if rounds.again and key not in memory.again:
            return
        changed = False
        for mutation in policy.mutations:
            try:
                changed = await self._mutate(match, mutation, subject, authorizations) or changed
            except (ExpressionFailed, CannotApply) as error:
                if policy.fails_closed:
                    failures.append(_Failure(_denied(policy.name, match.binding.name, str(error)), "Invalid"))
        if changed:
            memory.changed()
            rounds.wanted = True
        if policy.reinvoked:
            memory.called.add(key)

    async def _mutate(self, match: Match, mutation: Mutation, subject: Subject, authorizations: Authorizations) -> bool:
        """Make one change; returns whether it changed anything. Raises ExpressionFailed, CannotApply, ApiError."""
        obj, _ = subject.view(match.target)
        if obj is None:
            return False
        scope = Scope(match.policy, await self._evaluating.values(match, subject), authorizations)
        result = await scope.evaluate(mutation.expression)
        if mutation.patch_type == "ApplyConfiguration":
            change = partial(apply_configuration, subject.schema(match.target), obj, result)
        else:
            change = partial(_patched, subject.schema(match.target), obj, result)
        changed = await done(subject.request.large, change)
        return await subject.accept(match.target, changed)


def _patched(schema: Schema, obj: Object, operations: list[Any]) -> Object:
    """The object after a JSON patch; as it was when a test of the patch fails.

    Raises CannotApply; ApiError(500) for a field that the object's type does not have (custom objects may have any).
    """
    cleaned = [{key: value for key, value in operation.items() if key != "from" or value} for operation in operations]
    try:
        patched = apply_json_patch(obj, cleaned)
    except ApiError as error:
        if is_failed_test(error):
            return thaw(obj)
        raise CannotApply(f"JSON Patch: {why_not_applied(error)}") from error
    unknown = [] if schema.structural else unknown_fields(schema, patched)
    if unknown:
        raise internal(f"strict decoding error: {', '.join(unknown)}")
    return patched


def _denied(policy: str, binding: str, why: str) -> str:
    if binding:
        return f"policy '{policy}' with binding '{binding}' denied request: {why}"
    return f"policy '{policy}' denied request: {why}"


def _refused(subject: Subject, failures: list[_Failure]) -> ApiError:
    """The error that failed policies make of the request; the first one speaks."""
    target = subject.target
    plain = forbidden(target.group, target.plural, request_name(subject.request), failures[0].text)
    details: Object = {**(plain.details or {}), "causes": [{"message": failure.text} for failure in failures]}
    return ApiError(403, failures[0].reason or "Forbidden", failures[0].text, details=details)
