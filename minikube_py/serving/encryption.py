"""Encryption at rest in a process: around the store, where it is switched on or something is encrypted already."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.storage.encryption import MANAGED_FILE, MARK
from minikube_py.components.apiserver.storage.keys import resource_prefix
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import SECRETS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.components.apiserver.storage.caches import TappedStore
    from minikube_py.components.apiserver.storage.encryption.control import EncryptionControl
    from minikube_py.components.apiserver.storage.encryption.store import EncryptedStore
    from minikube_py.config import ServerSettings


@dataclass(frozen=True, slots=True)
class Encryption:
    """What a server with encryption has besides its store."""

    store: EncryptedStore
    control: EncryptionControl


async def encrypted(
    settings: ServerSettings, data_dir: Path, store: TappedStore, clock: Clock, registry: CollectorRegistry
) -> Encryption | None:
    """The store with encryption around it, None when it is switched off. Raises ConfigurationError.

    Ciphers are imported only where there is something to encrypt.
    """
    given = settings.encryption_provider_config
    if given and settings.secrets_encryption:
        raise ConfigurationError("--secrets-encryption and --encryption-provider-config exclude each other; give one")
    path = Path(given) if given else data_dir / MANAGED_FILE
    if not given and not settings.secrets_encryption and not await asyncio.to_thread(path.exists):
        if any(record.value.startswith(MARK) for record in store.current(resource_prefix(SECRETS))):
            raise ConfigurationError(
                f"encryption: stored Secrets are encrypted, but {path} is missing; put it back, "
                "or name your own file with --encryption-provider-config"
            )
        return None
    from minikube_py.components.apiserver.storage.encryption import managed
    from minikube_py.components.apiserver.storage.encryption.control import EncryptionControl, load
    from minikube_py.components.apiserver.storage.encryption.store import EncryptedStore

    if settings.secrets_encryption:
        await asyncio.to_thread(managed.ensure_config, data_dir, settings.secrets_encryption_provider, clock.now())
    configuration, digest = await asyncio.to_thread(load, path)
    wrapped = EncryptedStore(store, configuration)
    await wrapped.open()
    follow = not given or settings.encryption_provider_config_automatic_reload
    return Encryption(wrapped, EncryptionControl(wrapped, path, digest, clock, registry, follow=follow))
