"""LocalSubjectAccessReview: asks whether somebody may do something in one namespace."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.authorization.reviews import validate_local
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.authorization.v1.LocalSubjectAccessReview"

KIND = Kind(
    resource=Resource("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    singular="localsubjectaccessreview",
    definition=DEFINITION,
    verbs=("create",),
    default=wire_form(DEFINITION),
    validate=validate_local,
    extra={"virtual": True},
)
