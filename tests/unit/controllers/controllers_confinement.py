"""A server whose control loops may write only what the bootstrap policy grants to their service accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from open_server import Everybody, open_server

from minikube_py.client.types import Client
from minikube_py.components.apiserver.authentication.identity import service_account_user
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.bootstrap import ensure_bootstrap
from minikube_py.components.apiserver.bootstrap.policy import bootstrap_sections
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.types import AdmissionRequest, Attributes, Decision

_VERBS = {"CREATE": ("create",), "UPDATE": ("update", "patch"), "DELETE": ("delete", "deletecollection")}


@dataclass(frozen=True)
class Confining(Everybody):
    """Notes every write of a service account for which its roles do not suffice."""

    rbac: list[RbacAuthorizer] = field(default_factory=list)
    writers: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    async def admit(self, request: AdmissionRequest) -> None:
        user, kind = request.user, request.kind.resource
        if not self.rbac or not user.name.startswith("system:serviceaccount:"):
            return
        self.writers.add(user.name.rpartition(":")[2])
        for verb in _VERBS[request.operation]:
            attributes = Attributes(
                verb,
                "",
                True,
                kind.group,
                kind.version,
                kind.plural,
                request.subresource,
                request.namespace,
                request.name,
            )
            decision, _ = await self.rbac[0].authorize(user, attributes)
            if decision is Decision.ALLOW:
                return
        self.refused.append(f"{user.name} {request.operation} {kind.plural}/{request.subresource} {request.name}")


@dataclass(frozen=True)
class ConfinedServer:
    api: ApiServer
    seen: Confining

    def acting_as(self, account: str) -> Client:
        return self.api.client(service_account_user("kube-system", account), user_agent="kube-controller-manager")


@asynccontextmanager
async def confined_server(folder: Path) -> AsyncIterator[ConfinedServer]:
    """At the end no service account may have written more than it is granted."""
    seen = Confining()
    async with open_server(folder, everybody=seen) as api:
        await asyncio.to_thread(bootstrap_sections)  # reads a file; from here on it is remembered
        await ensure_bootstrap(api.client())
        rbac = RbacAuthorizer(api.client())
        await rbac.ready()
        seen.rbac.append(rbac)
        yield ConfinedServer(api, seen)
        assert not seen.refused, "\n".join(seen.refused)
