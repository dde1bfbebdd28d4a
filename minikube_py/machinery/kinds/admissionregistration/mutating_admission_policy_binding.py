"""MutatingAdmissionPolicyBinding: puts an admission policy into force."""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.admissionregistration.policies import (
    binding_errors,
    binding_row,
    default_match_resources,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, column
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding"


def fill(binding: Object) -> None:
    default_match_resources((binding.get("spec") or {}).get("matchResources"))


def validate(binding: Object) -> list[FieldError]:
    return binding_errors(binding, actions=False)


KIND = Kind(
    resource=Resource(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        namespaced=False,
    ),
    singular="mutatingadmissionpolicybinding",
    definition=DEFINITION,
    categories=("api-extensions",),
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=lambda new, old: validate(new),
    generation=True,
    unconditional_update=False,
    columns=(
        NAME,
        column(
            "PolicyName",
            text="PolicyName indicates the policy definition which the policy binding binded to",
        ),
        column("ParamRef", text="ParamRef indicates the param resource which sets the configuration param"),
        AGE,
    ),
    row=binding_row,
)
