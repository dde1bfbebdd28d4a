"""Routes about pods: the list, logs, exec, attach, port forwarding, run.

The streams themselves are ``kubelet.streaming``'s; here a pod and container name becomes the id of a
sandbox, a container or a log file.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from aiohttp import web

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.model import log_directory
from minikube_py.components.kubelet.pods.pods import Pods
from minikube_py.components.kubelet.pods.state import restart_count
from minikube_py.components.kubelet.pods.worker import PodWorker
from minikube_py.components.kubelet.runtime.types import ContainerState, ContainerStatus, RuntimeFailure

run_timeout_seconds = 60.0


class PodRoutes:
    """Handlers for one node's pods."""

    def __init__(self, kit: Kit, pods: Pods) -> None:
        self._kit = kit
        self._pods = pods

    def add_to(self, app: web.Application) -> None:
        router = app.router
        for path in ("/pods", "/pods/"):
            router.add_get(path, self.list_pods)
        for path in ("/runningpods", "/runningpods/"):
            router.add_get(path, self.list_running)
        router.add_get("/containerLogs/{namespace}/{pod}/{container}", self.logs)
        for verb, handler in (("exec", self.execute), ("attach", self.attach)):
            for path in ("{namespace}/{pod}/{container}", "{namespace}/{pod}/{uid}/{container}"):
                router.add_route("GET", f"/{verb}/{path}", handler)
                router.add_route("POST", f"/{verb}/{path}", handler)
        for path in ("{namespace}/{pod}/{container}", "{namespace}/{pod}/{uid}/{container}"):
            router.add_post(f"/run/{path}", self.run)
        for path in ("{namespace}/{pod}", "{namespace}/{pod}/{uid}"):
            router.add_route("GET", f"/portForward/{path}", self.port_forward)
            router.add_route("POST", f"/portForward/{path}", self.port_forward)

    async def list_pods(self, request: web.Request) -> web.StreamResponse:
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._pods.pods()}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def list_running(self, request: web.Request) -> web.StreamResponse:
        """Pods as the runtime has them: names and running containers only."""
        items = []
        for worker in self._pods.workers:
            running = [item for item in worker.state.containers if item.container.state is ContainerState.RUNNING]
            if running:
                meta = worker.pod["metadata"]
                identity = {key: meta[key] for key in ("name", "namespace", "uid") if key in meta}
                listed = [{"name": item.container.name, "image": item.container.image} for item in running]
                items.append({"metadata": identity, "spec": {"containers": listed}, "status": {}})
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def logs(self, request: web.Request) -> web.StreamResponse:
        from minikube_py.components.kubelet.streaming import log_options, serve_logs

        worker, name = self._worker(request), request.match_info["container"]
        options = log_options(request.query, self._kit.clock)
        previous = request.query.get("previous", "").lower() in ("true", "1")
        status = self._for_logs(worker, name, previous=previous)
        path = Path(status.log_path) if status.log_path else self._log_path(worker, status)
        ended: Callable[[], Awaitable[None]] | None = None
        if options.follow:

            async def until_ended() -> None:
                await worker.container_ended(status.container.id)

            ended = until_ended
        return await serve_logs(request, path, options, ended=ended)

    def _for_logs(self, worker: PodWorker, name: str, *, previous: bool) -> ContainerStatus:
        """The container whose log is meant. Texts are ``validateContainerLogStatus``'s."""
        history = worker.state.all_of(name)
        pod = worker.pod["metadata"]["name"]
        if previous:
            ended = [item for item in history[1:] if item.container.state is ContainerState.EXITED]
            waiting = worker.waiting_reason(name) is not None
            if waiting and history and history[0].container.state is ContainerState.EXITED:
                return history[0]
            if not ended:
                raise web.HTTPBadRequest(text=f'previous terminated container "{name}" in pod "{pod}" not found')
            return ended[0]
        if history and history[0].container.state in (ContainerState.RUNNING, ContainerState.EXITED):
            return history[0]
        reason = worker.waiting_reason(name)
        if reason is None and name not in worker.container_names():
            raise web.HTTPBadRequest(text=f"container {name} is not valid for pod {pod}")
        text = {
            "ErrImagePull": "image can't be pulled",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(reason or "", reason or "ContainerCreating")
        raise web.HTTPBadRequest(text=f'container "{name}" in pod "{pod}" is waiting to start: {text}')

    def _log_path(self, worker: PodWorker, status: ContainerStatus) -> Path:
        folder = log_directory(self._kit.settings.pod_logs_dir, worker.pod)
        return folder / status.container.name / f"{restart_count(status)}.log"

    async def execute(self, request: web.Request) -> web.StreamResponse:
        from minikube_py.components.kubelet.streaming import serve_exec

        return await serve_exec(request, self._kit.runtime, self._running(request).container.id)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        from minikube_py.components.kubelet.streaming import serve_attach

        return await serve_attach(request, self._kit.runtime, self._running(request).container.id)

    async def port_forward(self, request: web.Request) -> web.StreamResponse:
        from minikube_py.components.kubelet.streaming import serve_port_forward

        sandbox = self._worker(request).state.ready_sandbox
        if sandbox is None:
            raise web.HTTPNotFound(text=f'pod "{request.match_info["pod"]}" has no running sandbox')
        return await serve_port_forward(request, self._kit.runtime, sandbox.sandbox.id)

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Run a command and answer with what it wrote."""
        status = self._running(request)
        command = shlex.split(request.query.get("cmd", ""))
        if not command:
            raise web.HTTPBadRequest(text="you must specify a command")
        try:
            done = await self._kit.runtime.exec_sync(status.container.id, command, timeout_seconds=run_timeout_seconds)
        except RuntimeFailure as failure:
            raise web.HTTPInternalServerError(text=failure.message) from failure
        output = done.stdout + done.stderr
        if done.exit_code != 0:
            text = f"command '{' '.join(command)}' exited with {done.exit_code}: {output.decode(errors='replace')}"
            raise web.HTTPInternalServerError(text=text)
        return web.Response(body=output)

    def _worker(self, request: web.Request) -> PodWorker:
        match = request.match_info
        found = self._pods.find(match["namespace"], match["pod"], match.get("uid", ""))
        if found is None:
            raise web.HTTPNotFound(text=f'pod "{match["pod"]}" does not exist')
        return found

    def _running(self, request: web.Request) -> ContainerStatus:
        name = request.match_info["container"]
        status = self._worker(request).state.newest(name)
        if status is None or status.container.state is not ContainerState.RUNNING:
            pod, namespace = request.match_info["pod"], request.match_info["namespace"]
            raise web.HTTPNotFound(text=f'container not found ("{name}") in pod {pod}_{namespace}')
        return status
