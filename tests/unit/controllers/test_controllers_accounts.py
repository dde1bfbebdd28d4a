"""Every loop has an identity that the bootstrap policy knows."""

from __future__ import annotations

import pytest

from minikube_py.components.apiserver.bootstrap.policy import bootstrap_sections
from minikube_py.components.controllers.accounts import account_of
from minikube_py.components.controllers.component import all_loops
from minikube_py.machinery.resources import CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS


def bound_accounts() -> set[str]:
    bindings = [
        obj
        for section in bootstrap_sections()
        if section.resource in (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS)
        for obj in section.objects
    ]
    return {
        subject["name"]
        for binding in bindings
        for subject in binding.get("subjects") or ()
        if subject["kind"] == "ServiceAccount" and subject["namespace"] == "kube-system"
    }


@pytest.mark.parametrize("loop", sorted(all_loops()))
def test_the_account_of_a_loop_has_a_role(loop: str) -> None:
    account = account_of(loop)
    assert account in bound_accounts() or (not account and loop == "kubelet-serving-approving")
