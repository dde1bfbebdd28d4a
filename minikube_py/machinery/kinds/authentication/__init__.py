"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.authentication import (
    self_subject_review,
    token_review,
)

KINDS: tuple[Kind, ...] = (
    self_subject_review.KIND,
    token_review.KIND,
)
