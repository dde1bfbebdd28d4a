"""What the components of one server process share: settings, identities, recorders, plugins, the foundation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py import agent, config, plugging
from minikube_py.config import ServerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.supervisor import Ready, Supervisor

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.certificates import ServerCredentials
    from minikube_py.client.recorder import Recorder
    from minikube_py.client.types import Client
    from minikube_py.components.apiserver.server import ApiServer
    from minikube_py.datastore.transactions import TransactionalStore
    from minikube_py.pki import Pki
    from minikube_py.plugins.context import Context
    from minikube_py.plugins.host import PluginHost


@dataclass(slots=True)
class Foundation:
    """What the foundation component makes for the others."""

    credentials: ServerCredentials
    store: TransactionalStore
    api: ApiServer
    registry: CollectorRegistry
    """Metrics that the API shows."""
    node_registry: CollectorRegistry
    """Those of proxy and DNS, which the node API shows too."""

    @property
    def pki(self) -> Pki:
        return self.credentials.pki


class Server:
    """The parts of one server process that components share."""

    def __init__(self, settings: ServerSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.supervisor: Supervisor | None = None
        self._foundation: Foundation | None = None
        self._recorders: dict[str, Recorder] = {}
        self.plugins: PluginHost | None = None
        self._served: plugging.ServedKinds | None = None

    @property
    def data(self) -> Path:
        return Path(self.settings.data_dir).resolve()

    @property
    def foundation(self) -> Foundation:
        """Raises RuntimeError before the foundation is ready: a component that forgot to need it."""
        if self._foundation is None:
            raise RuntimeError("the foundation is not ready")
        return self._foundation

    def load_plugins(self) -> None:
        """Import the plugins. Blocks; what is wrong with one of them is in the log and in its state."""
        from minikube_py.plugins.host import PluginHost

        self.plugins = PluginHost(plugging.plugins_folder(self.data))

    def plugin_context(self, name: str) -> Context:
        """What the plugin ``name`` is given; ``events`` runs its recorder."""
        api = self.foundation.api
        if self._served is None:
            self._served = plugging.ServedKinds(api)
        return plugging.context_of(name, api, self._served, self.recorder(f"plugin-{name}"), self.clock)

    def lay(self, foundation: Foundation) -> None:
        self._foundation = foundation

    def client_as(self, name: str, *groups: str, user_agent: str) -> Client:
        """A client in this process that acts as a user, whom admission and managed fields see."""
        from minikube_py.components.apiserver.types import AUTHENTICATED, UserInfo

        return self.foundation.api.client(UserInfo(name, (*groups, AUTHENTICATED)), user_agent=user_agent)

    def controller(self, account: str) -> Client:
        """The client of a control loop, which acts as a service account of ``kube-system``.

        The loops share their informers, which are kube-controller-manager's own, as in Kubernetes.
        """
        from minikube_py.components.apiserver.authentication.identity import service_account_user
        from minikube_py.components.apiserver.types import AUTHENTICATED, UserInfo

        name = "kube-controller-manager"
        manager = UserInfo(f"system:{name}", (AUTHENTICATED,))
        user = service_account_user("kube-system", account)
        return self.foundation.api.client(user, user_agent=name, informers_as=manager)

    def scheduler(self) -> Client:
        return self.client_as("system:kube-scheduler", user_agent="kube-scheduler")

    def kubelet(self) -> Client:
        name = config.node_name(self.settings)
        return self.client_as(f"system:node:{name}", "system:nodes", user_agent="kubelet")

    def recorder(self, component: str, host: str = "") -> Recorder:
        """The event recorder under a component's name; ``events`` runs them all."""
        from minikube_py.client.recorder import Recorder
        from minikube_py.components.apiserver.types import LOOPBACK

        found = self._recorders.get(component)
        if found is None:
            writers = {"default-scheduler": self.scheduler, "kubelet": self.kubelet}
            own = writers.get(component)
            client = own() if own is not None else self.foundation.api.client(LOOPBACK, user_agent=component)
            found = Recorder(client, component, host, clock=self.clock)
            self._recorders[component] = found
        return found

    def node(self) -> agent.Node:
        """What the node's components get: identities of the node, through the local client."""
        found = self.foundation
        return agent.Node(
            settings=self.settings,
            client=self.kubelet(),
            recorder=self.recorder("kubelet", config.node_name(self.settings)),
            proxy_client=self.client_as("system:kube-proxy", user_agent="kube-proxy"),
            files=agent.NodeApiFiles(found.pki.serving_kubelet, found.pki.client_ca.certificate),
            clock=self.clock,
            registry=found.node_registry,
        )


Part = Callable[[Server, Ready], Awaitable[None]]
"""Runs one component of a process until it is cancelled; ``Ready`` is called when others may count on it."""
