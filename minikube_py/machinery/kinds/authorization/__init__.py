"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.authorization import (
    local_subject_access_review,
    self_subject_access_review,
    self_subject_rules_review,
    subject_access_review,
)

KINDS: tuple[Kind, ...] = (
    local_subject_access_review.KIND,
    self_subject_access_review.KIND,
    self_subject_rules_review.KIND,
    subject_access_review.KIND,
)
