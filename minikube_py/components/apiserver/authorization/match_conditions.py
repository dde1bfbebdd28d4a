"""Match conditions of authorization webhooks: expressions over the SubjectAccessReview's spec as ``request``.

Types of ``k8s.io/apiserver/pkg/authorization/cel``; the language is in ``machinery.cel``, which is imported
when the first expression is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minikube_py.machinery.errors import FieldError, invalid_value

if TYPE_CHECKING:
    from minikube_py.machinery.cel import Program, Type


def _object(type_name: str, /, **types: Type) -> Type:
    from minikube_py.machinery.cel import Field, object_type

    return object_type(f"kubernetes.{type_name}", {key: Field(key, kind) for key, kind in types.items()})


def _request_type() -> Type:
    """``SubjectAccessReviewSpec``."""
    from minikube_py.machinery.cel import STRING, list_of, map_of

    def selector(kind: str) -> Type:
        requirement = _object(f"{kind}SelectorRequirement", key=STRING, operator=STRING, values=list_of(STRING))
        return _object(f"{kind}SelectorAttributes", rawSelector=STRING, requirements=list_of(requirement))

    texts = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
    resource = _object(
        "ResourceAttributes",
        **dict.fromkeys(texts, STRING),
        fieldSelector=selector("Field"),
        labelSelector=selector("Label"),
    )
    return _object(
        "SubjectAccessReviewSpec",
        resourceAttributes=resource,
        nonResourceAttributes=_object("NonResourceAttributes", path=STRING, verb=STRING),
        user=STRING,
        groups=list_of(STRING),
        extra=map_of(STRING, list_of(STRING)),
        uid=STRING,
    )


class ConditionFailed(Exception):
    """A match condition could not be evaluated; the text is the language's."""


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """A compiled condition."""

    text: str
    program: Program


def compile_match_condition(text: str, field: str, errors: list[FieldError]) -> MatchCondition | None:
    """The condition, or None and an error of ``field``."""
    from minikube_py.machinery.cel import BOOL, CompileError, WrongResult, compile_expression

    try:
        return MatchCondition(text, compile_expression(text, {"request": _request_type()}, result=BOOL))
    except WrongResult as error:
        errors.append(invalid_value(field, text, str(error)))
    except CompileError as error:
        errors.append(invalid_value(field, text, f"compilation failed: {error}"))
    return None


def all_match(conditions: Sequence[MatchCondition], spec: Mapping[str, Any]) -> bool:
    """Whether every condition holds for a review's spec: one that is false decides, even beside failures.

    Raises ConditionFailed when none is false and one cannot be evaluated.
    """
    from minikube_py.machinery.cel import EvaluationError

    failure = ""
    for condition in conditions:
        try:
            if condition.program.evaluate({"request": spec}) is not True:
                return False
        except EvaluationError as error:
            failure = failure or f"match condition {condition.text!r}: {error}"
    if failure:
        raise ConditionFailed(failure)
    return True
