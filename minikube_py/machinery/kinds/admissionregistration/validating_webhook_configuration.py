"""ValidatingWebhookConfiguration: webhooks asked about writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.admissionregistration.webhooks import default_webhooks, webhook_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration"


def fill(configuration: Object) -> None:
    default_webhooks(configuration)


def validate(configuration: Object) -> list[FieldError]:
    return webhook_errors(configuration, mutating=False)


def row(configuration: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(configuration), len(configuration.get("webhooks") or ()), age(configuration, now))


KIND = Kind(
    resource=Resource(
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        namespaced=False,
    ),
    singular="validatingwebhookconfiguration",
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
            "Webhooks",
            text="Webhooks indicates the number of webhooks registered in this configuration",
            type="integer",
        ),
        AGE,
    ),
    row=row,
)
