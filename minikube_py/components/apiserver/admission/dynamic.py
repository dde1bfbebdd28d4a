"""Puts dynamic admission together: the four plugins that ask webhooks and evaluate policies.

Nothing is read, opened or imported here beyond what is small; configurations are followed from the first
write on, and the CEL engine and the HTTP client come in with the first policy or webhook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.admission.expressions.conditions import ConditionEvaluator
from minikube_py.components.apiserver.admission.policies import source as policies
from minikube_py.components.apiserver.admission.policies.evaluating import Evaluating
from minikube_py.components.apiserver.admission.policies.mutating import MutatingAdmissionPolicy
from minikube_py.components.apiserver.admission.policies.source import PolicySource
from minikube_py.components.apiserver.admission.policies.validating import ValidatingAdmissionPolicy
from minikube_py.components.apiserver.admission.subjects import ServedKinds
from minikube_py.components.apiserver.admission.webhooks.credentials import (
    NO_CREDENTIALS,
    WebhookCredentials,
    read_webhook_credentials,
)
from minikube_py.components.apiserver.admission.webhooks.dispatch import Asking
from minikube_py.components.apiserver.admission.webhooks.hooks import MUTATING, VALIDATING, HookSource
from minikube_py.components.apiserver.admission.webhooks.mutating import MutatingAdmissionWebhook
from minikube_py.components.apiserver.admission.webhooks.transport import HookCaller, HttpHookCaller
from minikube_py.components.apiserver.admission.webhooks.validating import ValidatingAdmissionWebhook
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.composition import ApiServerMetrics
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.service_endpoints import ServiceEndpoints
from minikube_py.components.apiserver.types import AdmissionPlugin, Authorizer
from minikube_py.machinery.resources import NAMESPACES, Resource


@dataclass(frozen=True, slots=True)
class DynamicAdmission:
    """The plugins by their names, and what calls webhooks for them."""

    plugins: Mapping[str, AdmissionPlugin]
    callers: Sequence[HookCaller]

    async def close(self) -> None:
        """End the connections to webhooks."""
        for caller in self.callers:
            await caller.close()


def build_dynamic_admission(
    client: Client,
    kinds: Kinds,
    authorizer: Authorizer,
    configured: AdmissionConfiguration,
    metrics: ApiServerMetrics | None = None,
) -> DynamicAdmission:
    """Compose the plugins. Blocks for the kubeconfig files of webhooks. Raises ConfigurationError."""
    shown = metrics or ApiServerMetrics()
    namespaces, services = Lookup(client, NAMESPACES), ServiceEndpoints(client)
    conditions, served = ConditionEvaluator(authorizer), ServedKinds(kinds)
    callers = [
        HttpHookCaller(services, _credentials(configured, name), shown.rest_clients)
        for name in (MutatingAdmissionWebhook.name, ValidatingAdmissionWebhook.name)
    ]

    def asking(step: str, resource: Resource, caller: HookCaller) -> Asking:
        source = HookSource(client, resource)
        return Asking(step, source, caller, served, namespaces, conditions, shown.admission)

    def evaluating(resource: Resource, bindings: Resource) -> Evaluating:
        source = PolicySource(client, resource, bindings)
        return Evaluating(source, client, served, namespaces, conditions, authorizer)

    plugins: list[AdmissionPlugin] = [
        MutatingAdmissionWebhook(asking("admit", MUTATING, callers[0])),
        ValidatingAdmissionWebhook(asking("validating", VALIDATING, callers[1])),
        MutatingAdmissionPolicy(evaluating(policies.MUTATING, policies.MUTATING_BINDINGS)),
        ValidatingAdmissionPolicy(evaluating(policies.VALIDATING, policies.VALIDATING_BINDINGS)),
    ]
    return DynamicAdmission({plugin.name: plugin for plugin in plugins}, callers)


def _credentials(configured: AdmissionConfiguration, plugin: str) -> WebhookCredentials:
    path = configured.webhook_kubeconfig(plugin)
    return read_webhook_credentials(path) if path is not None else NO_CREDENTIALS
