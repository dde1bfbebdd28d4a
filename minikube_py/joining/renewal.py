"""Keeps a worker's certificates and CA bundles good while it runs, without a restart.

In: the client with the node's identity, its files, its name and address. Out: files that change, which the node API
watches, and a client that shows the newest certificate. A certificate is asked for anew after 70 to 90 % of its life,
or when the cluster has a new CA; the CA bundles come with the facts of the cluster, which are watched. The old
certificate serves until the new one is there; failures are tried again with growing delays, for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from minikube_py.client.types import Client, EventType
from minikube_py.joining.cluster import NAME, NAMESPACE, ClusterFacts, FactsUnreadable, facts_of
from minikube_py.joining.identity import (
    NodeFiles,
    certificate_of,
    deadline,
    is_of,
    key_to_ask_with,
    next_key,
    renewed,
    save_facts,
    serves,
)
from minikube_py.joining.requests import RequestRefused, RequestUnanswered, Wanted, obtain
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS
from minikube_py.pki.authorities import KeyPair
from minikube_py.pki.errors import PkiError

log = logging.getLogger(__name__)

wake_seconds = 600.0
"""The wall clock can jump, so it is looked at six times an hour while nothing is due."""
first_retry_seconds = 1.0
longest_retry_seconds = 300.0


class NodeClient(Client, Protocol):
    """A client that shows the certificate, and trusts the CAs, that the files hold."""

    async def reload_credentials(self) -> None:
        """Use what the files hold now, from the next request on. Raises OSError."""


class NodeCertificates:
    """One worker's renewal; ``run`` is the component."""

    def __init__(self, client: NodeClient, files: NodeFiles, node_name: str, node_ip: str, clock: Clock) -> None:
        self._client = client
        self._files = files
        self._node_name = node_name
        self._node_ip = node_ip
        self._clock = clock
        self._look = asyncio.Event()
        self._told: Object | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow and renew until cancelled; ``ready`` at once: what is there serves, also without a server."""
        facts = self._client.informer(CONFIG_MAPS, NAMESPACE, field_selector=f"metadata.name={NAME}")
        unsubscribe = facts.subscribe(self._on_facts)
        try:
            ready()
            await self._keep()
        finally:
            unsubscribe()

    def _on_facts(self, type: EventType, config_map: Object, old: Object | None) -> None:
        if type is not EventType.DELETED:
            self._told = config_map
            self._look.set()

    async def _keep(self) -> None:
        retry = first_retry_seconds
        while True:
            self._look.clear()
            try:
                await self._take_in()
                wait = await self._renew_what_is_due()
                retry = first_retry_seconds
            except (ApiError, RequestRefused, RequestUnanswered, PkiError, OSError) as error:
                log.warning("cannot renew certificates", extra={"error": str(error), "again_seconds": retry})
                wait, retry = retry, min(retry * 2, longest_retry_seconds)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        """Sleep, or until the server has told something new."""
        timer = asyncio.create_task(self._clock.sleep(seconds))
        news = asyncio.create_task(self._look.wait())
        try:
            await asyncio.wait({timer, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            news.cancel()
            await asyncio.gather(timer, news, return_exceptions=True)

    async def _take_in(self) -> None:
        """Write down what the server told, and trust the CAs in it from the next connection on."""
        told = self._told
        if told is None:
            return
        try:
            facts: ClusterFacts = facts_of(told.get("data") or {})
        except FactsUnreadable as error:
            log.error("cannot use what the server tells its nodes", extra={"error": str(error)})
            return
        if await asyncio.to_thread(save_facts, self._files, facts):
            log.info("the cluster's configuration has changed; address ranges and what is disabled need a restart")
            await self._client.reload_credentials()
        if self._told is told:  # else there is newer news already
            self._told = None

    async def _renew_what_is_due(self) -> float:
        """Ask for every certificate whose time has come; how long to wait then. Raises what ``obtain`` does."""
        wants = (
            (self._files.client, self._files.client_ca, Wanted(node_name=self._node_name)),
            (
                self._files.serving,
                self._files.server_ca,
                Wanted(node_name=self._node_name, serving=True, addresses=(self._node_ip,)),
            ),
        )
        waits = [wake_seconds]
        for pair, authority, wanted in wants:
            left = await asyncio.to_thread(self._seconds_left, pair, authority, wanted)
            if left <= 0:
                await self._renew(pair, wanted)
                left = await asyncio.to_thread(self._seconds_left, pair, authority, wanted)
                if left <= 0:  # say so and wait longer and longer, instead of asking for ever
                    raise RequestUnanswered(f"the new certificate of {wanted.signer} does not do either")
            waits.append(left)
        return min(waits)

    def _seconds_left(self, pair: KeyPair, authority: Path, wanted: Wanted) -> float:
        """Until the certificate is to be renewed; 0 for one that does not do. Blocks."""
        found = certificate_of(pair)
        if found is None or not is_of(found, authority):
            return 0.0
        if wanted.serving and not serves(found, self._node_name, self._node_ip):
            return 0.0
        return deadline(found) - self._clock.now()

    async def _renew(self, pair: KeyPair, wanted: Wanted) -> None:
        key = await asyncio.to_thread(key_to_ask_with, pair)
        try:
            certificate = await obtain(self._client, wanted, key)
        except RequestRefused:
            await asyncio.to_thread(next_key(pair).unlink, missing_ok=True)
            raise
        await asyncio.to_thread(renewed, pair, certificate)
        log.info("renewed certificate", extra={"signer": wanted.signer})
        if not wanted.serving:
            await self._client.reload_credentials()
