"""SelfSubjectAccessReview: asks whether the caller may do something."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.authorization.reviews import validate_self
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.authorization.v1.SelfSubjectAccessReview"

KIND = Kind(
    resource=Resource(
        "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
    ),
    singular="selfsubjectaccessreview",
    definition=DEFINITION,
    verbs=("create",),
    default=wire_form(DEFINITION),
    validate=validate_self,
    extra={"virtual": True},
)
