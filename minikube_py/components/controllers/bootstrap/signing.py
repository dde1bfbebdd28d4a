"""Signs ``kube-public/cluster-info`` with every bootstrap token that may (``bootstrap-signer-controller``).

A node that holds only a token reads the ConfigMap over an unverified connection and believes its
kubeconfig because the detached JWS under ``jws-kubeconfig-<token id>`` fits the token's secret.

kubeadm makes that ConfigMap; here it is made when there is the first token with the usage ``signing``,
and then follows the CA. One that carries not our annotation is only signed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.bootstrap.tokens import (
    NAMESPACE,
    SECRET_TYPE,
    expiry_of,
    signing_token,
)
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.machinery.errors import ApiError, is_already_exists
from minikube_py.machinery.objects import Object, annotations_of, thaw
from minikube_py.machinery.resources import CONFIG_MAPS, SECRETS

PUBLIC_NAMESPACE = "kube-public"
CLUSTER_INFO = "cluster-info"
KUBECONFIG_KEY = "kubeconfig"
SIGNATURE_PREFIX = "jws-kubeconfig-"
OURS = "pyk3s.io/cluster-info"
_KEY = f"{PUBLIC_NAMESPACE}/{CLUSTER_INFO}"


def detached_signature(content: str, token_id: str, token_secret: str) -> str:
    """A JWS (HS256) of the content, without the content: ``cluster-bootstrap/token/jws``."""
    header = _encode(f'{{"alg":"HS256","kid":"{token_id}"}}'.encode())
    signed = f"{header}.{_encode(content.encode())}".encode()
    return f"{header}..{_encode(hmac.digest(token_secret.encode(), signed, hashlib.sha256))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def cluster_kubeconfig(api_url: str, ca_pem: str) -> str:
    """A kubeconfig that knows the cluster and no user."""
    authority = base64.b64encode(ca_pem.encode()).decode("ascii")
    lines = (
        "apiVersion: v1",
        "clusters:",
        "- cluster:",
        f"    certificate-authority-data: {authority}",
        f"    server: {api_url}",
        '  name: ""',
        "contexts: null",
        'current-context: ""',
        "kind: Config",
        "preferences: {}",
        "users: null",
    )
    return "\n".join(lines) + "\n"


class BootstrapSigner:
    """The loop; its one key is the ConfigMap."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._secrets = kit.client.informer(SECRETS, NAMESPACE, field_selector=f"type={SECRET_TYPE}")
        self._maps = kit.client.informer(CONFIG_MAPS, PUBLIC_NAMESPACE, field_selector=f"metadata.name={CLUSTER_INFO}")
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="bootstrap-signer")

    async def run(self) -> None:
        """Run until cancelled."""
        end = self._kit.settings.root_ca.subscribe(lambda: self._queue.add(_KEY))
        try:
            await follow(
                self._kit,
                "bootstrap-signer",
                self._queue,
                self.reconcile,
                (self._secrets, self._on_change),
                (self._maps, self._on_change),
                workers=1,
            )
        finally:
            end()

    def _on_change(self, type: EventType, obj: Object, old: Object | None) -> None:
        self._queue.add(_KEY)

    async def reconcile(self, key: str) -> float | None:
        """Make the signatures be those of the tokens; the seconds until the first of these ends."""
        now = self._kit.clock.now()
        secrets = [secret for secret in self._secrets.list(NAMESPACE) if secret.get("type") == SECRET_TYPE]
        tokens = dict(found for secret in secrets if (found := signing_token(secret, now)) is not None)
        ends = [end for secret in secrets if (end := expiry_of(secret)) is not None and end > now]
        present = self._maps.get(CLUSTER_INFO, PUBLIC_NAMESPACE)
        if present is None:
            await self._create(tokens)
        else:
            wanted = self._signed(self._content(present), tokens, present.get("data") or {})
            if wanted != (present.get("data") or {}):
                draft = thaw(present)
                draft["data"] = wanted
                await self._kit.client.update(CONFIG_MAPS, draft, PUBLIC_NAMESPACE, options=WRITE)
        return min(ends) - now if ends else None

    async def _create(self, tokens: dict[str, str]) -> None:
        settings = self._kit.settings
        if not tokens or not settings.api_url or not settings.root_ca.value:
            return
        content = cluster_kubeconfig(settings.api_url, settings.root_ca.value)
        body: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CLUSTER_INFO, "annotations": {OURS: "true"}},
            "data": self._signed(content, tokens, {}),
        }
        try:
            await self._kit.client.create(CONFIG_MAPS, body, PUBLIC_NAMESPACE, options=WRITE)
        except ApiError as error:
            if not is_already_exists(error):
                raise

    def _content(self, present: Object) -> str | None:
        """What is signed: ours is kept up to date, another's is taken as it is."""
        settings = self._kit.settings
        if annotations_of(present).get(OURS) == "true" and settings.api_url and settings.root_ca.value:
            return cluster_kubeconfig(settings.api_url, settings.root_ca.value)
        content: str | None = (present.get("data") or {}).get(KUBECONFIG_KEY)
        return content

    def _signed(self, content: str | None, tokens: dict[str, str], data: Object) -> Object:
        """The ConfigMap's data with these signatures and no others; without a kubeconfig, as it is."""
        if content is None:
            return data
        kept = {key: value for key, value in data.items() if not key.startswith(SIGNATURE_PREFIX)}
        signatures = {
            f"{SIGNATURE_PREFIX}{identifier}": detached_signature(content, identifier, password)
            for identifier, password in tokens.items()
        }
        return {**kept, KUBECONFIG_KEY: content, **signatures}
