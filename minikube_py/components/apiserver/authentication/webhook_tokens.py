"""Tokens that a remote service reviews: ``--authentication-token-webhook-config-file``.

Same rules as ``plugin/pkg/authenticator/token/webhook``. A service that does not answer, or answers
anything but a TokenReview, vouches for nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.components.apiserver.authentication.identity import TokenIdentity, as_authenticated, intersect
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.components.apiserver.webhook_client import Webhook, WebhookError
from minikube_py.machinery.errors import unauthorized

log = logging.getLogger(__name__)

default_cache_ttl_seconds = 120.0
VERSIONS = ("v1", "v1beta1")


class WebhookTokens:
    """Asks the service about every token that nobody else has known."""

    def __init__(self, webhook: Webhook, version: str, api_audiences: Sequence[str]) -> None:
        self._webhook = webhook
        self._version = version
        self._api_audiences = tuple(api_audiences)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        question = {
            "kind": "TokenReview",
            "apiVersion": f"authentication.k8s.io/{self._version}",
            "metadata": {},
            "spec": {"token": token, "audiences": list(audiences)},
        }
        try:
            answer = await self._webhook.ask(question)
            return self._read(answer["status"], audiences)
        except WebhookError as error:
            log.warning("token webhook failed", extra={"error": str(error)})
            raise unauthorized() from error

    async def close(self) -> None:
        await self._webhook.close()

    def _read(self, status: Mapping[str, Any], audiences: Sequence[str]) -> TokenIdentity | None:
        granted = intersect(audiences, _texts(status, "audiences") or self._api_audiences)
        if not granted:
            return None
        if status.get("authenticated") is not True:
            if status.get("error"):
                log.info("token webhook refused a token", extra={"error": str(status["error"])})
                raise unauthorized()
            return None
        user = status.get("user")
        if not isinstance(user, dict):
            raise WebhookError("the answer has no user")
        name, uid, extra = user.get("username") or "", user.get("uid") or "", user.get("extra") or {}
        if not isinstance(name, str) or not name or not isinstance(uid, str) or not isinstance(extra, dict):
            raise WebhookError("the answer's user is malformed")
        read = {str(key): _texts(extra, key) for key in extra}
        return TokenIdentity(as_authenticated(UserInfo(name, _texts(user, "groups"), uid, read)), granted)


def _texts(holder: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = holder.get(field) or ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise WebhookError(f"the answer's {field} is not a list of strings")
    return tuple(value)
