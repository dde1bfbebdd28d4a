"""TokenReview: asks whom a token belongs to."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.authentication.v1.TokenReview"

KIND = Kind(
    resource=Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False),
    singular="tokenreview",
    definition=DEFINITION,
    verbs=("create",),
    default=wire_form(DEFINITION),
    extra={"virtual": True},
)
