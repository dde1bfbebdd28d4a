"""The CEL of admission: the variables that its expressions know, and the errors of those that do not compile.

``object``, ``oldObject``, ``request``, ``params``, ``namespaceObject``, ``authorizer``,
``authorizer.requestResource`` and ``variables``, as ``k8s.io/apiserver/pkg/admission/plugin/cel`` declares
them. Validation and the admission plugins compile with the same declarations. The language is imported with
the first expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from minikube_py.machinery.errors import invalid_value
from minikube_py.machinery.kinds.common.checks import Errors

if TYPE_CHECKING:
    from minikube_py.machinery.cel import Program, Type

BOOLEAN, TEXT, TEXT_OR_NULL, APPLIED, PATCH, ANY = "boolean", "text", "text or null", "applied", "patch", "any"
"""What expressions may result in."""
_VARIABLES = "kubernetes.variables"


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may use; ``variables`` are the types of the policy's variables by their names."""

    params: bool = False
    authorizer: bool = True
    mutation: bool = False
    """Whether ``Object{}`` and ``JSONPatch{}`` can be made."""
    variables: Mapping[str, Type] | None = field(default=None, compare=False)

    def without_authorizer(self) -> Scope:
        """As messages see it."""
        return replace(self, authorizer=False)


def compile_in(scope: Scope, text: str, result: str) -> Program:
    """Compile an expression. Raises the language's CompileError."""
    from minikube_py.machinery.cel import compile_expression

    known = dict(declared(params=scope.params, authorizer=scope.authorizer))
    if scope.variables is not None:
        known["variables"] = _object(_VARIABLES, **scope.variables)
    return compile_expression(text, known, result=_results(result), mutation=scope.mutation)


@cache
def _results(result: str) -> tuple[Type, ...] | None:
    from minikube_py.machinery.cel import BOOL, JSON_PATCH, MUTATION_OBJECT, NULL, STRING, list_of

    found: Mapping[str, tuple[Type, ...]] = {
        BOOLEAN: (BOOL,),
        TEXT: (STRING,),
        TEXT_OR_NULL: (STRING, NULL),
        APPLIED: (MUTATION_OBJECT,),
        PATCH: (list_of(JSON_PATCH),),
    }
    return found.get(result)


def problem(scope: Scope, text: str, result: str) -> str:
    """Why an expression cannot be used; empty when it can."""
    from minikube_py.machinery.cel import CompileError, WrongResult

    try:
        compile_in(scope, text, result)
    except WrongResult as error:
        return str(error)
    except CompileError as error:
        return f"compilation failed: {error}"
    return ""


def expression_errors(path: str, text: str, scope: Scope, result: str) -> Errors:
    """The error of an expression that is given; one that is missing is reported elsewhere."""
    if not text.strip():
        return []
    why = problem(scope, text, result)
    return [invalid_value(path, text, why)] if why else []


def check_variables(scope: Scope, variables: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Type], list[str]]:
    """(the types of a policy's variables by name, why each of them cannot be used or "").

    A variable sees those before it; one that does not compile is dynamic for those after it.
    """
    from minikube_py.machinery.cel import DYN, CompileError, WrongResult

    types: dict[str, Type] = {}
    problems: list[str] = []
    here = replace(scope, variables=types)
    for variable in variables:
        name, text = str(variable.get("name") or ""), str(variable.get("expression") or "")
        found, why = DYN, ""
        try:
            found = compile_in(here, text, ANY).result_type
        except WrongResult as error:
            why = str(error)
        except CompileError as error:
            why = f"compilation failed: {error}"
        types[name] = found
        problems.append(why)
    return types, problems


@cache
def declared(*, params: bool, authorizer: bool) -> Mapping[str, Type]:
    """The types of all variables but ``variables``."""
    from minikube_py.machinery.cel import AUTHORIZER, DYN, RESOURCE_CHECK

    types: dict[str, Type] = {
        "object": DYN,
        "oldObject": DYN,
        "request": request_type(),
        "namespaceObject": namespace_type(),
    }
    if params:
        types["params"] = DYN
    if authorizer:
        types["authorizer"] = AUTHORIZER
        types["authorizer.requestResource"] = RESOURCE_CHECK
    return types


@cache
def request_type() -> Type:
    """``kubernetes.AdmissionRequest``."""
    from minikube_py.machinery.cel import BOOL, DYN, STRING, list_of, map_of

    kind = _object("kubernetes.GroupVersionKind", group=STRING, version=STRING, kind=STRING)
    resource = _object("kubernetes.GroupVersionResource", group=STRING, version=STRING, resource=STRING)
    user = _object(
        "kubernetes.UserInfo",
        username=STRING,
        uid=STRING,
        groups=list_of(STRING),
        extra=map_of(STRING, list_of(STRING)),
    )
    return _object(
        "kubernetes.AdmissionRequest",
        kind=kind,
        resource=resource,
        subResource=STRING,
        requestKind=kind,
        requestResource=resource,
        requestSubResource=STRING,
        name=STRING,
        namespace=STRING,
        operation=STRING,
        userInfo=user,
        dryRun=BOOL,
        options=DYN,
    )


@cache
def namespace_type() -> Type:
    """``kubernetes.Namespace``."""
    from minikube_py.machinery.cel import INT, STRING, TIMESTAMP, list_of, map_of

    texts = list_of(STRING)
    labels = map_of(STRING, STRING)
    metadata = _object(
        "kubernetes.NamespaceMetadata",
        name=STRING,
        generateName=STRING,
        namespace=STRING,
        labels=labels,
        annotations=labels,
        UID=STRING,  # so spelt in Kubernetes, so that nothing can be read under either name
        creationTimestamp=TIMESTAMP,
        deletionGracePeriodSeconds=INT,
        deletionTimestamp=TIMESTAMP,
        generation=INT,
        resourceVersion=STRING,
        finalizers=texts,
    )
    condition = _object(
        "kubernetes.NamespaceCondition",
        status=STRING,
        type=STRING,
        lastTransitionTime=TIMESTAMP,
        message=STRING,
        reason=STRING,
    )
    return _object(
        "kubernetes.Namespace",
        metadata=metadata,
        spec=_object("kubernetes.NamespaceSpec", finalizers=texts),
        status=_object("kubernetes.NamespaceStatus", conditions=list_of(condition), phase=STRING),
    )


def _object(name: str, /, **fields: Type) -> Type:
    from minikube_py.machinery.cel import Field, object_type

    return object_type(name, {key: Field(key, sort) for key, sort in fields.items()})
