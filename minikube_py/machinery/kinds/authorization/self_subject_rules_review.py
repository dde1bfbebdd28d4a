"""SelfSubjectRulesReview: asks what the caller may do in a namespace."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.authorization.v1.SelfSubjectRulesReview"

KIND = Kind(
    resource=Resource(
        "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False
    ),
    singular="selfsubjectrulesreview",
    definition=DEFINITION,
    verbs=("create",),
    default=wire_form(DEFINITION),
    extra={"virtual": True},
)
