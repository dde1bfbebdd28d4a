"""The public keys of an OpenID Connect issuer: found by discovery, cached, fetched anew for unknown key ids.

One fetch is shared by all requests that wait for it; an issuer that does not answer is asked again after
a pause, and so is one that is asked for key ids which it does not have, so that forged tokens cannot make
the API server flood it. Keys are usable for a signature with a public key of the algorithm that they are
for, and nothing else. Same documents as go-oidc reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from minikube_py.client.tls import client_context
from minikube_py.components.apiserver.authentication.configuration import Issuer
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

pause_seconds = 5.0
"""Between fetches that tokens with unknown keys ask for, and after failures."""
stale_seconds = 3600.0
"""Keys that are older are fetched anew beside the request; a key that the issuer has withdrawn so ends."""
fetch_timeout_seconds = 10.0
longest_document_bytes = 1024 * 1024
most_keys = 100
WELL_KNOWN = "/.well-known/openid-configuration"
_FAMILIES = {"RSA": ("RS", "PS"), "EC": ("ES",)}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class Fetch(Protocol):
    """Gets documents of issuers."""

    async def __call__(self, url: str, token: str = "") -> bytes:
        """The body of a document, asked for with the bearer token if there is one. Raises KeysUnavailable."""


class KeysUnavailable(Exception):
    """The issuer's keys cannot be had now; the text says why."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key. ``algorithm`` is empty where the issuer does not say it."""

    identifier: str
    family: str
    algorithm: str
    public: Any

    def fits(self, algorithm: str) -> bool:
        """Whether a signature with this algorithm may be checked with the key."""
        if not algorithm.startswith(_FAMILIES[self.family]):
            return False
        return self.algorithm in ("", algorithm)


class IssuerKeys:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer, fetch: Fetch, clock: Clock) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[IssuerKey, ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._failure = ""
        self._running: asyncio.Task[None] | None = None

    async def get(self) -> Sequence[IssuerKey]:
        """The keys as known. Raises KeysUnavailable when they were never had."""
        if self._fetched is None:
            await self.refresh()
            if self._fetched is None:
                raise KeysUnavailable(self._failure)
        elif self._clock.monotonic() - self._fetched > stale_seconds and self._may_try():
            self._start()
        return self._keys

    async def refresh(self) -> bool:
        """Fetch the keys, or join the fetch that runs. False when it is too early for another."""
        if self._running is None:
            if not self._may_try():
                return False
            self._start()
        running = self._running
        assert running is not None
        # A request that goes away must not take the others' fetch with it.
        await asyncio.shield(running)
        return True

    async def close(self) -> None:
        """End a fetch that runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _may_try(self) -> bool:
        return self._tried is None or self._clock.monotonic() - self._tried >= pause_seconds

    def _start(self) -> None:
        if self._running is None:
            self._tried = self._clock.monotonic()
            self._running = asyncio.create_task(self._load(), name=f"issuer-keys {self._issuer.url}")
            self._running.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None

    async def _load(self) -> None:
        """Take in the issuer's keys; a failure is kept for those who ask and never raised."""
        try:
            async with asyncio.timeout(fetch_timeout_seconds):
                keys = read_keys(await self._fetch(await self._keys_url()))
        except TimeoutError:
            self._failure = f"no answer within {fetch_timeout_seconds:g} seconds"
        except KeysUnavailable as error:
            self._failure = str(error)
        else:
            self._keys, self._fetched, self._failure = keys, self._clock.monotonic(), ""
            return
        log.warning("cannot get the keys of an issuer", extra={"issuer": self._issuer.url, "error": self._failure})

    async def _keys_url(self) -> str:
        issuer = self._issuer.url
        url = self._issuer.discovery_url or issuer.rstrip("/") + WELL_KNOWN
        document = _object(await self._fetch(url), "discovery document")
        named = document.get("issuer")
        if named != issuer:
            raise KeysUnavailable(
                f"issuer did not match the issuer returned by provider, expected {issuer!r} got {named!r}"
            )
        keys_url = document.get("jwks_uri")
        if not isinstance(keys_url, str) or not keys_url.startswith("https://"):
            raise KeysUnavailable("the discovery document has no jwks_uri with https")
        return keys_url


def read_keys(data: bytes) -> tuple[IssuerKey, ...]:
    """The keys of a JSON Web Key Set that check signatures; those that cannot be read are left out.

    Raises KeysUnavailable for what is no key set.
    """
    listed = _object(data, "key set").get("keys")
    if not isinstance(listed, list):
        raise KeysUnavailable("the key set has no keys")
    keys = [_key(item) for item in listed[:most_keys] if isinstance(item, dict)]
    return tuple(key for key in keys if key is not None)


def _key(jwk: dict[str, Any]) -> IssuerKey | None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    family, algorithm = jwk.get("kty"), jwk.get("alg") or ""
    if family not in _FAMILIES or jwk.get("use", "sig") != "sig" or not isinstance(algorithm, str):
        return None
    if family == "EC":
        algorithm = algorithm or _CURVES.get(str(jwk.get("crv")), "none")
    try:
        loaded = jwt.PyJWK({**jwk, "alg": algorithm or "RS256"})
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    # A key set that holds private keys is the issuer's accident; only what is public is kept.
    public = loaded.key.public_key() if hasattr(loaded.key, "public_key") else loaded.key
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < 2048:
        return None
    if not isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return None
    return IssuerKey(str(jwk.get("kid") or ""), family, algorithm, public)


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        decoded = orjson.loads(data)
    except ValueError:
        raise KeysUnavailable(f"the {what} is not JSON") from None
    if not isinstance(decoded, dict):
        raise KeysUnavailable(f"the {what} is not an object")
    return decoded


def https_fetch(ca_pem: str) -> Fetch:
    """Fetches documents over HTTPS, trusting the CA given (or the system's); a fresh connection each time.

    Keys are fetched about once an hour, so no connection is kept.
    """

    async def fetch(url: str, token: str = "") -> bytes:
        import aiohttp

        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        context = await asyncio.to_thread(client_context, ca_pem=ca_pem.encode())
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                session.get(url, headers=headers, max_redirects=3) as response,
            ):
                if response.url.scheme != "https":
                    raise KeysUnavailable(f"{url} leads to {response.url}, which is not https")
                if response.status != 200:
                    raise KeysUnavailable(f"{url} answered with status {response.status}")
                data = await response.content.read(longest_document_bytes + 1)
                while len(data) <= longest_document_bytes and (more := await response.content.read(65536)):
                    data += more
        except (aiohttp.ClientError, OSError) as error:
            raise KeysUnavailable(f"{url}: {error}") from error
        if len(data) > longest_document_bytes:
            raise KeysUnavailable(f"{url} is larger than {longest_document_bytes} bytes")
        return data

    return fetch
