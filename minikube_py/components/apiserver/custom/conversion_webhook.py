"""Versions of custom resources that a webhook makes (``spec.conversion.strategy: Webhook``).

In: entries of the watch cache, in the versions they were stored in. Out: entries of the wanted version, which live as
long as the stored ones and are made once; whoever asks while one is being made waits for the same answer. Objects go
in batches, each one call. Any failure is an ApiError(500) with the text of kube-apiserver, and nothing of a batch
counts then. Nothing here is asked for objects that have the wanted version already.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from minikube_py.components.apiserver.admission.webhooks.hooks import Address
from minikube_py.components.apiserver.admission.webhooks.transport import CallFailed, HookCaller
from minikube_py.components.apiserver.custom.conversion import Version, Versions
from minikube_py.components.apiserver.custom.conversion_review import (
    InvalidAnswer,
    checked,
    converted_objects,
    question,
    review_version,
)
from minikube_py.components.apiserver.metrics.conversion import CALL_FAILED, INVALID_OBJECT, MALFORMED, PARTIAL
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.machinery.decoding import drop_unknown
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import Schema

timeout_seconds = 30.0
most_objects = 250
most_bytes = 256 * 1024
"""Of one batch: what can be decoded without holding up the event loop."""
calls_at_once = 4
_decoded_at_once = 16


def _random_uid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Webhook:
    """How a definition's objects are converted. ``token`` is equal as long as what was converted is true.

    ``counted`` takes note of a question: version before and after, seconds, kind of failure.
    """

    address: Address
    review_versions: Sequence[str]
    versions: Versions
    caller: HookCaller
    token: object
    counted: Callable[[str, str, float, str], None]
    new_uid: Callable[[], str] = _random_uid

    async def convert(self, objects: Sequence[Object], wanted: Version) -> list[Object]:
        """Objects of other versions than the wanted one in that; private copies. ApiError(500)."""
        if not objects:
            return []
        begin, failure = monotonic(), CALL_FAILED
        try:
            answer, uid, version = await self._asked(objects, wanted)
            failure = MALFORMED
            made = self._answered(objects, answer, uid, version)
            failure = PARTIAL
            if len(made) != len(objects):
                raise _failed(_type_of(objects[0]), f"returned {len(made)} objects, expected {len(objects)}")
            failure = INVALID_OBJECT
            result = [self._believed(original, found, wanted) for original, found in zip(objects, made, strict=True)]
            failure = ""
            return result
        finally:
            before, after = str(objects[0].get("apiVersion")), wanted.api_version
            self.counted(_version(before), _version(after), monotonic() - begin, failure)

    async def _asked(self, objects: Sequence[Object], wanted: Version) -> tuple[Object, str, str]:
        """(answer, uid of the question, version of the review). ApiError(500)."""
        uid = self.new_uid()
        try:
            version = review_version(self.review_versions)
            review = question(objects, wanted.api_version, uid, version)
            return await self.caller.call(self.address, review, timeout_seconds), uid, version
        except (CallFailed, InvalidAnswer) as error:
            raise _failed(_type_of(objects[0]), f"failed: {error}") from error

    def _answered(self, objects: Sequence[Object], answer: Object, uid: str, version: str) -> list[Any]:
        try:
            return converted_objects(answer, uid, version)
        except InvalidAnswer as error:
            raise _failed(_type_of(objects[0]), f"failed: {error}") from error

    def _believed(self, original: Object, found: Any, wanted: Version) -> Object:
        try:
            result = thaw(checked(original, found, wanted.api_version))
        except InvalidAnswer as error:
            raise _failed(_type_of(original), str(error)) from error
        drop_unknown(wanted.schema, result)
        return result


def _version(api_version: str) -> str:
    return api_version.rpartition("/")[2]


def _type_of(obj: Object) -> str:
    return f"{obj.get('apiVersion') or ''}, Kind={obj.get('kind') or ''}"


def _failed(subject: str, why: str) -> ApiError:
    return ApiError(500, "", f"conversion webhook for {subject} {why}")


@dataclass(slots=True)
class WebhookConverter:
    """Implements ``registry.versions.Converter`` for one version of a definition."""

    webhook: Webhook
    version: Version
    _pending: dict[Entry, asyncio.Task[None]] = field(default_factory=dict, repr=False)
    _seats: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(calls_at_once), repr=False)

    async def entries(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        found = [self._known(entry) for entry in entries]
        missing = [entry for entry, known in zip(entries, found, strict=True) if known is None]
        if not missing:
            return [entry for entry in found if entry is not None]
        self._make([entry for entry in missing if entry not in self._pending])
        for task in dict.fromkeys([self._pending[entry] for entry in missing]):
            await asyncio.shield(task)
        results: list[Entry] = []
        for entry in entries:
            known = self._known(entry)
            if known is None:
                raise ApiError(500, "", "the definition changed while its objects were converted")
            results.append(known)
        return results

    async def stored(self, draft: Object) -> Object:
        storage = self.webhook.versions.storage
        made = (await self.objects([draft], storage.api_version))[0]
        storage.default(made)
        return made

    def schema(self, api_version: str) -> Schema | None:
        found = self.webhook.versions.by_name.get(api_version)
        return found.schema if found is not None else None

    async def objects(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        wanted = self.webhook.versions.of({"apiVersion": api_version})
        others = [obj for obj in objects if obj.get("apiVersion") != api_version]
        made = iter(await self.webhook.convert(others, wanted))
        return [thaw(obj) if obj.get("apiVersion") == api_version else next(made) for obj in objects]

    def _known(self, entry: Entry) -> Entry | None:
        """The entry in this version, when it has that or has been converted."""
        if self.webhook.versions.is_current(entry, self.version):
            return entry
        token, made = (entry.converted or {}).get(self.version.api_version, (None, None))
        return made if token == self.webhook.token else None

    def _make(self, entries: Sequence[Entry]) -> None:
        """Begin to convert; the task of a batch goes on for the others who wait when one who asked goes away."""
        for batch in _batches(entries):
            task = asyncio.create_task(self._fill(batch), name="convert-custom-resources")
            task.add_done_callback(_take_note)
            self._pending.update(dict.fromkeys(batch, task))

    async def _fill(self, batch: Sequence[Entry]) -> None:
        versions = self.webhook.versions
        try:
            async with self._seats:
                decoded: list[Object] = []
                for number, entry in enumerate(batch, 1):
                    decoded.append(versions.decoded(entry.object))
                    if not number % _decoded_at_once:
                        await asyncio.sleep(0)
                made_objects = await self.objects(decoded, self.version.api_version)
            for entry, obj in zip(batch, made_objects, strict=True):
                made = entry.made(obj, entry.shape.in_version(self.version.api_version))
                entry.converted = {
                    **(entry.converted or {}),
                    self.version.api_version: (self.webhook.token, made),
                }
        finally:
            for entry in batch:
                self._pending.pop(entry, None)


def _take_note(task: asyncio.Task[None]) -> None:
    """Look at a failure that nobody may be waiting for any more; those who wait get it as well."""
    if not task.cancelled():
        task.exception()


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) >= most_objects or size + len(entry.item) > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.item)
    if batch:
        yield batch
