"""Kubernetes' ``authorizer`` library: the declarations; the host's objects do the work.

The host passes a ``HostObject`` of type ``AUTHORIZER`` as ``authorizer`` (and of ``RESOURCE_CHECK`` as
``authorizer.requestResource``); its methods give further host objects of the types here.
"""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.cel.errors import no_such_overload
from minikube_py.machinery.cel.overloads import Function, Table, member
from minikube_py.machinery.cel.types import BOOL, STRING, Type, opaque
from minikube_py.machinery.cel.values import HostObject

AUTHORIZER = opaque("kubernetes.authorization.Authorizer")
PATH_CHECK = opaque("kubernetes.authorization.PathCheck")
GROUP_CHECK = opaque("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK = opaque("kubernetes.authorization.ResourceCheck")
DECISION = opaque("kubernetes.authorization.Decision")

_METHODS: tuple[tuple[str, str, tuple[Type, ...], Type], ...] = (
    ("path", "authorizer_path", (AUTHORIZER, STRING), PATH_CHECK),
    ("group", "authorizer_group", (AUTHORIZER, STRING), GROUP_CHECK),
    ("serviceAccount", "authorizer_serviceaccount", (AUTHORIZER, STRING, STRING), AUTHORIZER),
    ("resource", "groupcheck_resource", (GROUP_CHECK, STRING), RESOURCE_CHECK),
    ("subresource", "resourcecheck_subresource", (RESOURCE_CHECK, STRING), RESOURCE_CHECK),
    ("namespace", "resourcecheck_namespace", (RESOURCE_CHECK, STRING), RESOURCE_CHECK),
    ("name", "resourcecheck_name", (RESOURCE_CHECK, STRING), RESOURCE_CHECK),
    ("fieldSelector", "authorizer_fieldselector", (RESOURCE_CHECK, STRING), RESOURCE_CHECK),
    ("labelSelector", "authorizer_labelselector", (RESOURCE_CHECK, STRING), RESOURCE_CHECK),
    ("check", "pathcheck_check", (PATH_CHECK, STRING), DECISION),
    ("check", "resourcecheck_check", (RESOURCE_CHECK, STRING), DECISION),
    ("errored", "decision_errored", (DECISION,), BOOL),
    ("error", "decision_error", (DECISION,), STRING),
    ("allowed", "decision_allowed", (DECISION,), BOOL),
    ("reason", "decision_reason", (DECISION,), STRING),
)


def declare(table: Table) -> None:
    """Add the library."""
    for name, overload, arguments, result in _METHODS:
        member(table, name, overload, arguments, result, _method(name))


def _method(name: str) -> Function:
    def function(target: Any, *arguments: Any) -> Any:
        found = target.methods.get(name) if isinstance(target, HostObject) else None
        if found is None:
            raise no_such_overload()
        return found(*arguments)

    return function
