"""The ``authorizer`` variable: checks of the request's user, or of a service account, by the server's authorizer.

Methods collect what is asked; ``check()`` looks the answer up. An answer that is not there yet stops the
evaluation with ``AnswerMissing``; ``Authorizations.ask`` fetches it, and the evaluation starts again.
Answers are kept for one request, as ``plugin/authorizer.NewCachingAuthorizer`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from minikube_py.components.apiserver.admission.subjects import Subject
from minikube_py.components.apiserver.authentication.identity import service_account_user
from minikube_py.components.apiserver.types import Attributes, Authorizer, Decision, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.field_selectors import parse_field_selector
from minikube_py.machinery.names import dns1123_label_errors, dns1123_subdomain_errors
from minikube_py.machinery.selectors import parse_label_selector


@dataclass(frozen=True, slots=True)
class Question:
    """One check."""

    user: UserInfo
    attributes: Attributes

    @property
    def key(self) -> tuple[object, ...]:
        user = self.user
        extra = tuple(sorted((name, values) for name, values in user.extra.items()))
        return user.name, user.uid, user.groups, extra, self.attributes


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a check; ``error`` is why there is none."""

    allowed: bool
    reason: str
    error: str = ""


class AnswerMissing(Exception):
    """An evaluation needs an answer first. Not an error of the expression, so no operator may absorb it."""

    def __init__(self, question: Question) -> None:
        super().__init__("an authorization check has no answer yet")
        self.question = question


class Authorizations:
    """The checks of one request and their answers."""

    def __init__(self, authorizer: Authorizer, subject: Subject) -> None:
        self._authorizer = authorizer
        self._subject = subject
        self._known: dict[tuple[object, ...], Verdict] = {}

    def variables(self) -> dict[str, Any]:
        """The values of ``authorizer`` and ``authorizer.requestResource``."""
        user = self._subject.request.user
        return {"authorizer": self._of(user), "authorizer.requestResource": self._request_resource(user)}

    async def ask(self, question: Question) -> None:
        """Fetch the answer to one check."""
        try:
            decision, reason = await self._authorizer.authorize(question.user, question.attributes)
            verdict = Verdict(decision is Decision.ALLOW, reason)
        except ApiError as error:
            verdict = Verdict(False, "", error.message)
        self._known[question.key] = verdict

    def _of(self, user: UserInfo) -> Any:
        def path(text: str) -> Any:
            return self._path(user, text)

        def group(text: str) -> Any:
            return _host("GroupCheck", resource=lambda plural: self._resource(_Resource(user, text, plural)))

        def service_account(namespace: str, name: str) -> Any:
            return self._of(_service_account(namespace, name))

        return _host("Authorizer", path=path, group=group, serviceAccount=service_account)

    def _path(self, user: UserInfo, path: str) -> Any:
        if not path:
            raise _problem("path must not be empty")
        return _host("PathCheck", check=lambda verb: self._decide(user, Attributes(verb, path)))

    def _resource(self, chosen: _Resource) -> Any:
        def with_(field: str, value: str) -> Any:
            return self._resource(replace(chosen, **{field: value}))  # type: ignore[arg-type]

        return _host(
            "ResourceCheck",
            subresource=lambda name: with_("subresource", name),
            namespace=lambda name: with_("namespace", name),
            name=lambda name: with_("name", name),
            fieldSelector=lambda text: with_("field_selector", text),
            labelSelector=lambda text: with_("label_selector", text),
            check=lambda verb: self._decide(chosen.user, chosen.attributes(verb)),
        )

    def _request_resource(self, user: UserInfo) -> Any:
        subject, target = self._subject, self._subject.target
        return self._resource(
            _Resource(
                user,
                target.group,
                target.plural,
                version=target.version,
                subresource=target.subresource,
                namespace=subject.namespace,
                name=subject.name,
            )
        )

    def _decide(self, user: UserInfo, attributes: Attributes) -> Any:
        question = Question(user, attributes)
        verdict = self._known.get(question.key)
        if verdict is None:
            raise AnswerMissing(question)
        return _host(
            "Decision",
            allowed=lambda: verdict.allowed,
            reason=lambda: verdict.reason,
            errored=lambda: bool(verdict.error),
            error=lambda: verdict.error,
        )


@dataclass(frozen=True, slots=True)
class _Resource:
    """A resource check that is being put together."""

    user: UserInfo
    group: str
    plural: str
    version: str = "*"
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""

    def attributes(self, verb: str) -> Attributes:
        return Attributes(
            verb=verb,
            path="",
            resource_request=True,
            group=self.group,
            version=self.version,
            resource=self.plural,
            subresource=self.subresource,
            namespace=self.namespace,
            name=self.name,
            label_selector=_readable(self.label_selector, parse_label_selector),
            field_selector=_readable(self.field_selector, parse_field_selector),
        )


def _readable(text: str, parse: Callable[[str], object]) -> str:
    """The selector; nothing when it cannot be read, which asks for everything, as in Kubernetes."""
    try:
        parse(text)
    except (ApiError, ValueError):
        return ""
    return text


def _service_account(namespace: str, name: str) -> UserInfo:
    if not namespace or dns1123_label_errors(namespace):
        raise _problem("Invalid service account namespace")
    if not name or dns1123_subdomain_errors(name):
        raise _problem("Invalid service account name")
    return service_account_user(namespace, name)


def _problem(text: str) -> Exception:
    from minikube_py.machinery.cel import EvaluationError

    return EvaluationError(text)


def _host(name: str, /, **methods: Callable[..., Any]) -> Any:
    from minikube_py.machinery.cel import HostObject, opaque

    return HostObject(opaque(f"kubernetes.authorization.{name}"), methods)
