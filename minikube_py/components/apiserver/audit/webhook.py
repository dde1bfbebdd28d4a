"""The webhook backend: batches of events posted as an EventList to the service of a kubeconfig file.

Events that are too large for the service are shortened as kube-apiserver's ``--audit-*-truncate-*`` does: first the
request's and answer's objects go (which an annotation says), then the event itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from minikube_py.components.apiserver.audit.batches import WriteFailed
from minikube_py.components.apiserver.audit.policy import VERSION
from minikube_py.components.apiserver.webhook_client import WebhookClient, WebhookError
from minikube_py.machinery.objects import Object

TRUNCATED = "audit.k8s.io/truncated"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of JSON; ``most_event`` 0 leaves events as they are."""

    most_event: int = 0
    most_batch: int = 10 * 1024 * 1024


class AuditWebhook:
    """See the module."""

    def __init__(self, client: WebhookClient, sizes: Sizes) -> None:
        self._client = client
        self._sizes = sizes

    async def write(self, events: Sequence[Object]) -> None:
        """Post the events, in as many lists as their sizes need. Raises WriteFailed."""
        for batch in batches(events, self._sizes):
            try:
                await self._client.send({"kind": "EventList", "apiVersion": VERSION, "metadata": {}, "items": batch})
            except WebhookError as error:
                raise WriteFailed(str(error)) from error

    async def close(self) -> None:
        await self._client.close()


def batches(events: Sequence[Object], sizes: Sizes) -> list[list[Object]]:
    """The events, shortened where they must be, in lists below the size of a batch."""
    made: list[list[Object]] = []
    room = 0
    for event in events:
        kept, size = fitted(event, sizes.most_event)
        if kept is None:
            continue
        if size > room or not made:
            made.append([])
            room = sizes.most_batch
        made[-1].append(kept)
        room -= size
    return made


def fitted(event: Object, most: int) -> tuple[Object | None, int]:
    """The event or its shortened form with its size; None when even that is too large."""
    size = len(orjson.dumps(event))
    if not most or size <= most:
        return event, size
    short = {name: value for name, value in event.items() if name not in ("requestObject", "responseObject")}
    short["annotations"] = {**event.get("annotations", {}), TRUNCATED: "true"}
    size = len(orjson.dumps(short))
    return (short, size) if size <= most else (None, 0)
