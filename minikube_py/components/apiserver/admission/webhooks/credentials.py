"""Who the API server is to its webhooks: the users of a kubeconfig file, by the webhook's host.

The file is ``kubeConfigFile`` of the plugin's WebhookAdmissionConfiguration. The user of a webhook is the
one named by its ``host:port``, by a wildcard such as ``*.svc:443``, by either without the port when that
is 443, the user ``*``, or that of the current context; without any the API server is nobody. Same search
as ``webhook.NewDefaultAuthenticationInfoResolver``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.client.kubeconfig import KubeconfigError, load_users
from minikube_py.components.apiserver.configuration_file import ConfigurationError


@dataclass(frozen=True, slots=True)
class WebhookUser:
    """How the API server proves who it is; empty where it does not."""

    cert_pem: bytes = b""
    key_pem: bytes = b""
    token: str = ""


NOBODY = WebhookUser()


@dataclass(frozen=True, slots=True)
class WebhookCredentials:
    """All users of a file; ``current`` is the current context's."""

    users: Mapping[str, WebhookUser] = field(default_factory=dict)
    current: WebhookUser = NOBODY

    def user_for(self, host_port: str) -> WebhookUser:
        """The API server's identity at a webhook."""
        if not self.users:
            return self.current
        return next((self.users[name] for name in _names(host_port) if name in self.users), self.current)


NO_CREDENTIALS = WebhookCredentials()


def _names(host_port: str) -> Iterator[str]:
    """Under which names a host's user may stand, the best first."""
    host, _, port = host_port.rpartition(":")
    for target in (host_port, host) if port == "443" else (host_port,):
        yield target
        steps = target.split(".")
        for count in range(1, len(steps)):
            yield "*." + ".".join(steps[count:])
    yield "*"


def read_webhook_credentials(path: Path) -> WebhookCredentials:
    """The users of a kubeconfig file. Blocks. Raises ConfigurationError."""
    try:
        users, current = load_users(path)
    except KubeconfigError as error:
        raise ConfigurationError(str(error)) from error
    found = {name: WebhookUser(user.cert_pem, user.key_pem, user.token) for name, user in users.items()}
    return WebhookCredentials(found, found.get(current, NOBODY))
