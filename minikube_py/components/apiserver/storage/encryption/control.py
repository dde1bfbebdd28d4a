"""Keeps encryption in step with its file, and asks KMS plugins how they are.

In: the file (followed, when that is asked for). Out: ``EncryptedStore.replace``, a health check for the plugins, and
metrics under kube-apiserver's names. A file that cannot be used is told in the log, and the former keys stay.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.file_reload import follow_file
from minikube_py.components.apiserver.storage.encryption.configuration import EncryptionConfiguration, read_encryption
from minikube_py.components.apiserver.storage.encryption.kms import KmsError
from minikube_py.components.apiserver.storage.encryption.store import EncryptedStore
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

status_interval_seconds = 60.0
Loaded = tuple[EncryptionConfiguration, str]


def load(path: Path) -> Loaded:
    """The configuration of a file, and the hash that names this state of it. Blocks. Raises ConfigurationError."""
    configuration = read_encryption(path)
    return configuration, file_hash(path)


def file_hash(path: Path) -> str:
    """``sha256:`` and the digest of a file. Blocks."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


class EncryptionControl:
    """See the module. ``run`` until cancelled; ``check`` is for /healthz."""

    def __init__(
        self, store: EncryptedStore, path: Path, digest: str, clock: Clock, registry: CollectorRegistry, *, follow: bool
    ) -> None:
        self._store = store
        self._path = path
        self._clock = clock
        self._follow = follow
        self._info = Gauge(
            "apiserver_encryption_config_controller_last_config_info",
            "Information about the last applied encryption configuration with its hash as label",
            ("hash",),
            registry=registry,
        )
        self._reloads = Counter(
            "apiserver_encryption_config_controller_automatic_reloads",
            "Total number of reload successes and failures of encryption configuration",
            ("status",),
            registry=registry,
        )
        self._info.labels(digest).set(1)
        self._reloaded = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_plugins())
            if self._follow:
                tasks.create_task(follow_file(self._path, load, self._apply, self._clock))

    async def check(self) -> str:
        """Why a plugin cannot be used; empty: all can."""
        return "; ".join(plugin.problem for plugin in self._store.plugins if plugin.problem)

    async def _apply(self, loaded: Loaded) -> None:
        configuration, digest = loaded
        try:
            await self._store.replace(configuration)
        except ConfigurationError as error:
            self._reloads.labels("failure").inc()
            log.error("encryption configuration cannot be used; the former one stays", extra={"error": str(error)})
            return
        self._reloads.labels("success").inc()
        self._info.clear()
        self._info.labels(digest).set(1)
        self._reloaded.set()
        log.info("encryption configuration reloaded", extra={"to_be_rewritten": self._store.stale_count})

    async def _ask_plugins(self) -> None:
        """A plugin may be given another key at any time; without plugins nothing runs."""
        while True:
            self._reloaded.clear()
            if not self._store.plugins:
                await self._reloaded.wait()
            for plugin in self._store.plugins:
                try:
                    await asyncio.to_thread(plugin.refresh)
                except KmsError as error:
                    log.error("KMS plugin cannot be used", extra={"error": str(error)})
            await self._clock.sleep(status_interval_seconds)
