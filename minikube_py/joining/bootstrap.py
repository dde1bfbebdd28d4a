"""The first meeting of a worker and its server: whom to trust, who we are, the first certificate.

A token of the form ``K10<hash>::...`` pins the server's CA: what ``/cacerts`` offers to anybody is trusted as far as
the hash vouches for it, and only then is the secret shown. With it the worker reads the facts of the cluster and asks
for its client certificate; the key is made here and stays here. A host that has joined needs none of this again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from functools import partial

from minikube_py import config
from minikube_py.client.http import HttpClient
from minikube_py.client.tls import client_context
from minikube_py.config_agent import AgentSettings, node_settings
from minikube_py.joining.cluster import CA_PATH, ClusterFacts, FactsUnreadable, read_facts
from minikube_py.joining.errors import JoinError
from minikube_py.joining.identity import (
    NodeFiles,
    certificate_of,
    finish_renewal,
    has_ended,
    key_to_ask_with,
    load_facts,
    next_key,
    node_name_of,
    renewed,
    save_facts,
)
from minikube_py.joining.requests import RequestRefused, RequestUnanswered, Wanted, obtain
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.times import rfc3339
from minikube_py.pki.errors import PkiError
from minikube_py.pki.join_tokens import AGENT_USER, JoinToken, parse_join_token

log = logging.getLogger(__name__)

refresh_seconds = 5.0
"""How long the start of a member waits for its server."""
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
"""Of OpenSSL's codes for what is wrong with a certificate those that say nothing against its CA."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker that may start: its name, and what it knows of its cluster."""

    node_name: str
    facts: ClusterFacts


async def join(settings: AgentSettings, files: NodeFiles, clock: Clock) -> Joined:
    """Be a member: from the stored files, else by the token. Raises JoinError, OSError."""
    try:
        stored = await asyncio.to_thread(_stored, settings, files, clock)
    except PkiError as error:
        raise JoinError(str(error)) from error
    return await _refreshed(settings, files, stored) if stored is not None else await _introduce(settings, files)


def _stored(settings: AgentSettings, files: NodeFiles, clock: Clock) -> Joined | None:
    """What an earlier start has left, if it is still good. Raises JoinError, PkiError, OSError."""
    finish_renewal(files.client)
    certificate = certificate_of(files.client)
    name = node_name_of(certificate) if certificate is not None else ""
    if certificate is None or not name:
        return None
    facts = load_facts(files)
    if settings.node_name and settings.node_name.lower() != name:
        raise JoinError(
            f"this host is the node {name}: leave out --node-name, or run `pyk3s uninstall` to join under another name"
        )
    if has_ended(certificate, clock.now()):
        if not settings.token:
            ended = rfc3339(certificate.not_valid_after_utc.timestamp())
            raise JoinError(
                f"this node's certificate ended on {ended}: run `pyk3s kubectl delete node {name}` on the server and "
                "start the agent with --token"
            )
        return None
    return Joined(name, facts) if facts is not None else None


async def _refreshed(settings: AgentSettings, files: NodeFiles, stored: Joined) -> Joined:
    """With what the server says now, if it is there; a worker starts without it as well.

    Raises JoinError when both the server and the token are of another cluster. A token alone is of no weight any more:
    it may be older than the CA.
    """
    try:
        async with asyncio.timeout(refresh_seconds), node_client(settings.server, files) as client:
            facts = await read_facts(client)
    except (ApiError, FactsUnreadable, TimeoutError, OSError) as error:
        if _is_stranger(error) and settings.token and not await _pins(settings, stored.facts):
            raise JoinError(
                f"this host belongs to another cluster than {settings.server}: run `pyk3s uninstall` to change"
            ) from error
        log.warning("starting with what is known of the cluster", extra={"error": str(error)})
        return stored
    await asyncio.to_thread(save_facts, files, facts)
    return Joined(stored.node_name, facts)


def _refusal(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """What is wrong with the server's certificate, if that is why a request has failed."""
    cause = getattr(error.__cause__, "certificate_error", None)
    return cause if isinstance(cause, ssl.SSLCertVerificationError) else None


def _is_stranger(error: BaseException) -> bool:
    """Whether the server was refused because its CA is not ours."""
    refusal = _refusal(error)
    known = (_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS)
    return refusal is not None and refusal.verify_code not in known


async def _pins(settings: AgentSettings, facts: ClusterFacts) -> bool:
    return await asyncio.to_thread(_token(settings).pins, facts.server_ca.encode())


def node_client(url: str, files: NodeFiles, clock: Clock | None = None) -> HttpClient:
    """The API for the node that the files make us."""
    return HttpClient(
        url,
        ca_file=files.server_ca,
        cert_file=files.client.certificate,
        key_file=files.client.key,
        user_agent="pyk3s-agent",
        clock=clock,
    )


def _token(settings: AgentSettings) -> JoinToken:
    try:
        return parse_join_token(settings.token)
    except PkiError as error:
        raise JoinError(str(error)) from error


async def _introduce(settings: AgentSettings, files: NodeFiles) -> Joined:
    if not settings.token:
        raise JoinError("--token is missing: make one with `pyk3s token create` on the server")
    token, name = _token(settings), config.node_name(node_settings(settings))
    bundle = await _trusted_bundle(settings.server, token)
    secret = token.secret if token.is_bootstrap_token else f"{AGENT_USER}:{token.secret}"
    tls = partial(client_context, ca_pem=bundle)
    try:
        async with HttpClient(settings.server, token=secret, tls=tls, user_agent="pyk3s-agent") as client:
            facts = await read_facts(client)
            key = await asyncio.to_thread(key_to_ask_with, files.client)
            certificate = await obtain(client, Wanted(node_name=name), key)
    except ApiError as error:
        raise _explained(error, settings.server) from error
    except (FactsUnreadable, RequestUnanswered) as error:
        raise JoinError(str(error)) from error
    except RequestRefused as error:
        await asyncio.to_thread(next_key(files.client).unlink, missing_ok=True)
        raise JoinError(
            f"the server gives no certificate for node {name}: {error}; choose another --node-name, or run "
            f"`pyk3s kubectl delete node {name}` on the server if that node is gone for good"
        ) from error
    await asyncio.to_thread(save_facts, files, facts)
    await asyncio.to_thread(renewed, files.client, certificate)
    log.info("joined", extra={"server": settings.server, "node": name})
    return Joined(name, facts)


async def _trusted_bundle(url: str, token: JoinToken) -> bytes:
    """What of the server's CA bundle the token vouches for. Raises JoinError."""
    try:
        async with HttpClient(url, insecure=True, user_agent="pyk3s-agent") as client:
            offered = await client.raw("GET", CA_PATH)
    except ApiError as error:
        raise _explained(error, url) from error
    if b"BEGIN CERTIFICATE" not in offered:
        raise JoinError(f"{url} is no pyk3s server: {CA_PATH} holds no certificate; check --server")
    if not token.ca_hash:
        log.warning("the token does not pin the server's CA: trusting what %s shows the first time", url)
    bundle = await asyncio.to_thread(token.vouched_bundle, offered)
    if not bundle:
        raise JoinError(
            f"the token is of another cluster: the CA of {url} does not have the token's hash; "
            "check --server and --token, somebody may stand between"
        )
    return bundle


def _explained(error: ApiError, url: str) -> JoinError:
    """One line for what the server, or the way to it, said."""
    text, refusal = error.message, _refusal(error)
    if refusal is not None and refusal.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return JoinError(f"the certificate of {url} does not name that host: start the server with --tls-san for it")
    if refusal is not None and refusal.verify_code in (_NOT_YET_VALID, _EXPIRED):
        return JoinError(f"the certificate of {url} cannot be believed: {refusal.verify_message}; is the clock right?")
    if refusal is not None:
        return JoinError(f"{url} does not prove itself by the CA that the token pins; somebody may stand between")
    if error.code == 401:
        return JoinError("the server refuses the token: it is wrong or has expired; make a new one on the server")
    if error.code == 403:
        return JoinError(f"the token may not join nodes: {text}")
    if error.code == 404:
        return JoinError(f"{url} is no pyk3s server, or an older one: {text}; check --server")
    return JoinError(f"{text}; is the server running, and is --server right?")
