"""Makes sure that a container's image is on the node: pull policy, back-off, credentials, events.

Texts and reasons are those of ``pkg/kubelet/images``. Equal pulls at the same moment share one
request; the number of pulls at once is bounded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.components.kubelet.gotext import go_duration, rpc_text
from minikube_py.components.kubelet.metrics import KubeletMetrics
from minikube_py.components.kubelet.pods.backoff import Backoff
from minikube_py.components.kubelet.pods.credentials import credentials_for
from minikube_py.components.kubelet.runtime.types import (
    Image,
    RegistryCredentials,
    Runtime,
    RuntimeFailure,
    SandboxConfig,
)
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object, uid_of

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = (
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_REFERENCE = re.compile(
    rf"^(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:"
    r"[0-9a-fA-F]{32,}))?$",
    re.ASCII,
)

Note = Callable[[str, str, str], None]
"""Records an event: (type, reason, message)."""


class ImageProblem(Exception):
    """The image is not there (yet): ``reason`` and message of the container's waiting state.

    ``retry_seconds`` says when trying again may help; None leaves it to other events.
    """

    def __init__(self, reason: str, message: str, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_seconds = retry_seconds


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image on the node; ``reference`` is what a container is made from."""

    reference: str
    image: Image | None


def with_default_tag(image: str) -> str:
    """The reference with ``:latest`` where it has neither tag nor digest. Raises ValueError."""
    found = _REFERENCE.match(image)
    if found is None or re.fullmatch(r"[0-9a-f]{64}", image):
        raise ValueError(f'couldn\'t parse image name "{image}": invalid reference format')
    return image if found["tag"] or found["digest"] else f"{image}:latest"


def pull_policy(container: Object) -> str:
    """The container's policy; Always for ``:latest`` where none is given, as the API defaults it."""
    policy = container.get("imagePullPolicy")
    if policy:
        return str(policy)
    image = str(container.get("image", ""))
    return "Always" if image.endswith(":latest") or ":" not in image.rsplit("/", 1)[-1] else "IfNotPresent"


class Images:
    """The node's images as pods need them; shared by all pod workers."""

    def __init__(
        self, runtime: Runtime, clock: Clock, metrics: KubeletMetrics, *, parallel: int, timeout_seconds: float
    ) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._clock = clock
        self._places = asyncio.Semaphore(parallel)
        self._timeout = timeout_seconds
        self._backoff = Backoff(clock)
        self._last_errors: dict[tuple[str, str], tuple[float, str]] = {}
        self._pulls: dict[tuple[str, Sequence[RegistryCredentials]], asyncio.Task[str]] = {}

    async def ensure(
        self, pod: Object, container: Object, secrets: Sequence[Object], sandbox: SandboxConfig, note: Note
    ) -> Pulled:
        """Have the container's image. Raises ImageProblem."""
        wanted = str(container.get("image") or "")
        try:
            image = with_default_tag(wanted)
        except ValueError as error:
            message = f'Failed to apply default image tag "{wanted}": {error}'
            note("Warning", "InspectFailed", message)
            raise ImageProblem("InvalidImageName", message) from error
        policy = pull_policy(container)
        present = await self._status(image, note)
        self._count(policy, present is not None)
        if present is not None and policy != "Always":
            text = f'Container image "{wanted}" already present on machine and can be accessed by the pod'
            note("Normal", "Pulled", text)
            return Pulled(present.id, present)
        if policy == "Never":
            message = f'Container image "{wanted}" is not present with pull policy of Never'
            note("Warning", "ErrImageNeverPull", message)
            raise ImageProblem("ErrImageNeverPull", message)
        self._check_backoff(uid_of(pod), image, wanted, note)
        return await self._pull(pod, wanted, image, secrets, sandbox, note)

    def _count(self, policy: str, present: bool) -> None:
        required = policy == "Always" or (not present and policy != "Never")
        labels = (str(present).lower(), policy.lower(), str(required).lower())
        self._metrics.ensured_images.labels(*labels).inc()

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        self._backoff.drop(lambda key: isinstance(key, tuple) and key[0] == pod_uid)
        for key in [key for key in self._last_errors if key[0] == pod_uid]:
            del self._last_errors[key]

    async def _status(self, image: str, note: Note) -> Image | None:
        try:
            return await self._runtime.image_status(image)
        except RuntimeFailure as failure:
            message = f'Failed to inspect image "{image}": {failure.message}'
            note("Warning", "InspectFailed", message)
            raise ImageProblem("ImageInspectError", message, 10.0) from failure

    def _check_backoff(self, uid: str, image: str, wanted: str, note: Note) -> None:
        key = (uid, image)
        if key not in self._last_errors:
            return
        failed_at, error = self._last_errors[key]
        remaining = self._backoff.remaining(key, failed_at)
        if remaining > 0:
            note("Normal", "BackOff", f'Back-off pulling image "{wanted}"')
            message = f'Back-off pulling image "{wanted}": {error}'
            raise ImageProblem("ImagePullBackOff", message, remaining)

    async def _pull(
        self, pod: Object, wanted: str, image: str, secrets: Sequence[Object], sandbox: SandboxConfig, note: Note
    ) -> Pulled:
        key = (uid_of(pod), image)
        note("Normal", "Pulling", f'Pulling image "{wanted}"')
        begin = self._clock.monotonic()
        try:
            reference, spent = await self._shared_pull(image, credentials_for(image, secrets), sandbox)
        except RuntimeFailure as failure:
            now = self._clock.now()
            self._backoff.advance(key, now)
            text = rpc_text(failure.code, failure.message)
            self._last_errors[key] = now, f"ErrImagePull: {text}"
            note("Warning", "Failed", f'Failed to pull image "{wanted}": {text}')
            raise ImageProblem("ErrImagePull", text, self._backoff.current(key)) from failure
        self._backoff.reset(key)
        self._last_errors.pop(key, None)
        found = await self._status(image, note)
        waited = go_duration(self._clock.monotonic() - begin)
        size = found.size_bytes if found else 0
        text = f'Successfully pulled image "{wanted}" in {go_duration(spent)} ({waited} including waiting).'
        note("Normal", "Pulled", f"{text} Image size: {size} bytes.")
        return Pulled(found.id if found else reference, found)

    async def _shared_pull(
        self, image: str, credentials: Sequence[RegistryCredentials], sandbox: SandboxConfig
    ) -> tuple[str, float]:
        """One pull for everyone who asks for the same at once; returns (reference, seconds)."""
        begin = self._clock.monotonic()
        key = (image, tuple(credentials))
        task = self._pulls.get(key)
        if task is None:
            task = asyncio.create_task(self._try_credentials(image, credentials, sandbox), name=f"pull-{image}")
            self._pulls[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        # Shielded: a pod that goes away must not spoil the pull for the others.
        reference = await asyncio.shield(task)
        return reference, self._clock.monotonic() - begin

    def _done(self, key: tuple[str, Sequence[RegistryCredentials]], task: asyncio.Task[str]) -> None:
        self._pulls.pop(key, None)
        if not task.cancelled():
            task.exception()

    async def _try_credentials(
        self, image: str, credentials: Sequence[RegistryCredentials], sandbox: SandboxConfig
    ) -> str:
        """Pull with each fitting credential in turn; the last failure counts."""
        candidates: Sequence[RegistryCredentials | None] = credentials or [None]
        async with self._places:
            for candidate in candidates[:-1]:
                try:
                    return await self._pull_once(image, candidate, sandbox)
                except RuntimeFailure:
                    continue
            return await self._pull_once(image, candidates[-1], sandbox)

    async def _pull_once(self, image: str, credentials: RegistryCredentials | None, sandbox: SandboxConfig) -> str:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._runtime.pull_image(image, credentials=credentials, sandbox=sandbox)
        except TimeoutError as error:
            raise RuntimeFailure("PullImage", "DEADLINE_EXCEEDED", "context deadline exceeded") from error

    async def close(self) -> None:
        """End the pulls that still run (no pod waits for them any more)."""
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
