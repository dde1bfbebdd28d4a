"""Deletes expired bootstrap tokens (``token-cleaner-controller``), each when its moment comes."""

from __future__ import annotations

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.bootstrap.tokens import NAMESPACE, SECRET_TYPE, expiry_of
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.machinery.errors import ApiError, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, name_of, uid_of
from minikube_py.machinery.resources import SECRETS


class TokenCleaner:
    """The loop; keys are names of Secrets in kube-system."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._secrets = kit.client.informer(SECRETS, NAMESPACE, field_selector=f"type={SECRET_TYPE}")
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="token-cleaner")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit, "token-cleaner", self._queue, self.reconcile, (self._secrets, self._on_secret), workers=1
        )

    def _on_secret(self, type: EventType, secret: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and secret.get("type") == SECRET_TYPE and expiry_of(secret) is not None:
            self._queue.add(name_of(secret))

    async def reconcile(self, key: str) -> float | None:
        """Delete the token if its time is over; else the seconds until then."""
        secret = self._secrets.get(key, NAMESPACE)
        moment = expiry_of(secret) if secret is not None and not is_deleting(secret) else None
        if secret is None or moment is None:
            return None
        left = moment - self._kit.clock.now()
        if left > 0:
            return left
        try:
            options = DeleteOptions(precondition_uid=uid_of(secret))
            await self._kit.client.delete(SECRETS, key, NAMESPACE, options=options)
        except ApiError as error:
            if not (is_not_found(error) or is_conflict(error)):  # gone, or another of the same name
                raise
        return None
