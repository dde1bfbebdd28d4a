"""What ends a start with one line for the user instead of a traceback."""

from __future__ import annotations

import errno
import re

from minikube_py.config import ConfigError, ServerSettings


class StartError(Exception):
    """The server cannot start; the text is one line with the cause and the mend."""


def explained(error: BaseException, settings: ServerSettings) -> BaseException:
    """The StartError for a failure that a user can mend; anything else as it is."""
    from minikube_py.components.apiserver.configuration_file import ConfigurationError
    from minikube_py.components.kubelet.runtime.containerd_config import RuntimeMissing
    from minikube_py.components.kubelet.runtime.types import RuntimeFailure
    from minikube_py.datastore.types import StoreCorrupt, StoreLocked, StoreUnavailable
    from minikube_py.pki.errors import PkiError

    if isinstance(error, BaseExceptionGroup):
        return explained(error.exceptions[0], settings)
    if isinstance(
        error,
        ConfigurationError | RuntimeMissing | PkiError | ConfigError | StoreCorrupt | StoreLocked | StoreUnavailable,
    ):
        return StartError(str(error))
    if isinstance(error, RuntimeFailure):
        return StartError(f"the container runtime does not work: {error.message}")
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return StartError(_busy_port(str(error), settings))
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return StartError(f"cannot start: {named}{error.strerror or error}")
    return error


def _busy_port(text: str, settings: ServerSettings) -> str:
    """Which address is taken, as the event loop's error names it, and the option that chooses another."""
    found = re.search(r"\('([^']*)', (\d+)", text)
    address, port = (found[1], found[2]) if found else (settings.bind_address, str(settings.https_listen_port))
    etcd = port == settings.etcd_listen.rpartition(":")[2]
    option = "--etcd-listen" if etcd else "--https-listen-port"
    return f"port {port} on {address} is in use; stop the program that has it or choose another with {option}"
