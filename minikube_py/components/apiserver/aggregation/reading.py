"""Reads from aggregated API servers for components of this process, which do not come through the HTTP face."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

from minikube_py.components.apiserver.aggregation.aggregator import Aggregator
from minikube_py.components.apiserver.aggregation.asking import ask
from minikube_py.components.apiserver.local_audit import Asked, Journal
from minikube_py.components.apiserver.service_endpoints import NoEndpoint
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.machinery.errors import ApiError, from_status, service_unavailable
from minikube_py.machinery.objects import Object

answer_seconds = 30.0
_USER_AGENT = "kube-controller-manager"
_LONGEST_ANSWER = 64 * 1024 * 1024


class AggregatedReader:
    """Reads as one user. ``journal`` writes down what is asked, None: nothing is audited."""

    def __init__(self, aggregator: Aggregator, user: UserInfo, journal: Journal | None = None) -> None:
        self._aggregator = aggregator
        self._user = user
        self._journal = journal

    def serves(self, group: str, version: str) -> bool:
        """Whether there is an aggregated server for a group version, available or not."""
        return self._aggregator.get(group, version) is not None

    async def read(self, path: str, query: Mapping[str, str]) -> Object:
        """The object at a path ``/apis/<group>/<version>/...``. Raises ApiError.

        Without details it is not the server's own answer: nobody serves it, or the server cannot be reached.
        """
        if self._journal is None:
            return await self._read(path, query)
        where = f"{path}?{urlencode(query)}" if query else path
        asked = Asked(self._user, _USER_AGENT, "GET", where)
        return await self._journal.recorded(asked, lambda _: self._read(path, query), shown=lambda answer: answer)

    async def _read(self, path: str, query: Mapping[str, str]) -> Object:
        group, version = path.split("/")[2:4]
        served = self._aggregator.get(group, version)
        if served is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        if not served.available:
            raise service_unavailable("the server is currently unable to handle the request")
        try:
            async with asyncio.timeout(answer_seconds):
                code, body = await ask(
                    self._aggregator.connections,
                    served.remote,
                    path,
                    self._user,
                    longest=_LONGEST_ANSWER,
                    query=query,
                )
        except TimeoutError as error:
            raise service_unavailable("the server did not answer in time") from error
        except (NoEndpoint, OSError, ValueError) as error:
            raise service_unavailable(f"error trying to reach service: {error}") from error
        return _object(code, body)


def _object(code: int, body: bytes) -> Object:
    """The answer's object. Raises ApiError for a failure."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if code < 400 and isinstance(found, dict):
        return found
    if isinstance(found, dict) and found.get("kind") == "Status":
        raise from_status(found)
    if code == 404:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    raise ApiError(max(code, 500), "", f"the server answered {code} with what is no object")
