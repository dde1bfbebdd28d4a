"""The authorizers of an AuthorizationConfiguration, replaced as a whole when the file changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from minikube_py.client.types import Client
from minikube_py.components.apiserver.authorization.configuration import AuthorizationConfiguration, AuthorizerSettings
from minikube_py.components.apiserver.authorization.node import NodeAuthorizer
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.authorization.rules import compile_rules
from minikube_py.components.apiserver.authorization.union import AlwaysAllow, AlwaysDeny, UnionAuthorizer
from minikube_py.components.apiserver.authorization.webhook import WebhookAuthorizer
from minikube_py.components.apiserver.bootstrap.policy import cluster_role_rules
from minikube_py.components.apiserver.metrics.rest_client import RestClientMetrics
from minikube_py.components.apiserver.types import Authorizer
from minikube_py.components.apiserver.webhook_client import WebhookClient
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)


class AuthorizerChain:
    """Makes the authorizers and keeps ``union`` up to date; Node and RBAC are made once and live on."""

    def __init__(
        self,
        client: Client,
        rbac: RbacAuthorizer,
        clock: Clock,
        configuration: AuthorizationConfiguration,
        metrics: RestClientMetrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._client = client
        self._clock = clock
        self._kept: dict[str, Authorizer] = {"RBAC": rbac}
        self._webhooks: list[WebhookAuthorizer] = []
        self._modes: tuple[str, ...] = ()
        self.union = UnionAuthorizer(())
        self.in_process = UnionAuthorizer(())
        """Those of the chain that ask nobody else."""
        self._take(configuration)

    def has(self, mode: str) -> bool:
        """Whether the chain has an authorizer of this mode now."""
        return mode in self._modes

    async def apply(self, configuration: AuthorizationConfiguration) -> None:
        """Use another chain from now on; requests on their way end with the old one."""
        former = self._webhooks
        self._take(configuration)
        await _close(former)
        log.info("authorization configuration reloaded", extra={"authorizers": list(self._modes)})

    async def close(self) -> None:
        """Close the webhooks' connections."""
        await _close(self._webhooks)

    def _take(self, configuration: AuthorizationConfiguration) -> None:
        self._webhooks = []
        made = [self._make(settings) for settings in configuration.authorizers]
        self.union.replace(made)
        self.in_process.replace([found for found in made if not isinstance(found, WebhookAuthorizer)])
        self._modes = tuple(settings.mode for settings in configuration.authorizers)

    def _make(self, settings: AuthorizerSettings) -> Authorizer:
        if settings.webhook is not None:
            client = WebhookClient(
                settings.webhook.connection,
                self._clock,
                timeout_seconds=settings.webhook.timeout_seconds,
                metrics=self._metrics,
            )
            made = WebhookAuthorizer(settings.name, settings.webhook, client, self._clock)
            self._webhooks.append(made)
            return made
        if settings.mode not in self._kept:
            self._kept[settings.mode] = self._make_local(settings.mode)
        return self._kept[settings.mode]

    def _make_local(self, mode: str) -> Authorizer:
        match mode:
            case "Node":
                return NodeAuthorizer(self._client, compile_rules(cluster_role_rules("system:node")))
            case "AlwaysAllow":
                return AlwaysAllow()
            case "AlwaysDeny":
                return AlwaysDeny()
        raise ValueError(f"authorization mode {mode!r} is unknown")


async def _close(webhooks: Sequence[WebhookAuthorizer]) -> None:
    for webhook in webhooks:
        await webhook.close()
