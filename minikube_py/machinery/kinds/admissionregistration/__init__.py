"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.admissionregistration import (
    mutating_admission_policy,
    mutating_admission_policy_binding,
    mutating_webhook_configuration,
    validating_admission_policy,
    validating_admission_policy_binding,
    validating_webhook_configuration,
)

KINDS: tuple[Kind, ...] = (
    mutating_admission_policy.KIND,
    mutating_admission_policy_binding.KIND,
    mutating_webhook_configuration.KIND,
    validating_admission_policy.KIND,
    validating_admission_policy_binding.KIND,
    validating_webhook_configuration.KIND,
)
