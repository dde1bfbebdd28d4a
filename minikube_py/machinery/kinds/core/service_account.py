"""ServiceAccount: an identity for pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import SERVICE_ACCOUNTS

DEFINITION = "io.k8s.api.core.v1.ServiceAccount"
_ENFORCE = "kubernetes.io/enforce-mountable-secrets"


def prepare_create(account: Object) -> None:
    """``cleanSecretReferences``: secrets are named, and nothing more is said of them."""
    if account.get("secrets"):
        account["secrets"] = [{"name": each["name"]} if each.get("name") else {} for each in account["secrets"]]


def warnings(account: Object, old: Object | None) -> list[str]:
    """The annotation that limits mountable secrets is deprecated."""
    annotations = (account.get("metadata") or {}).get("annotations") or {}
    before = ((old or {}).get("metadata") or {}).get("annotations") or {}
    if _ENFORCE in annotations and _ENFORCE not in before:
        return [f"metadata.annotations[{_ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate "
                "access to mounted secrets"]  # fmt: skip
    return []


def row(account: Mapping[str, Any], now: float) -> tuple[str, int, str]:
    return (name(account), len(account.get("secrets") or ()), age(account, now))


KIND = Kind(
    resource=SERVICE_ACCOUNTS,
    singular="serviceaccount",
    definition=DEFINITION,
    short_names=("sa",),
    subresources=(Subresource("token", ("create",), kind="TokenRequest", group="authentication.k8s.io", version="v1"),),
    default=wire_form(DEFINITION),
    prepare_create=prepare_create,
    prepare_update=lambda account, old: prepare_create(account),
    warnings=warnings,
    columns=(NAME, column("Secrets", f"{DEFINITION}.secrets"), AGE),
    row=row,
)
