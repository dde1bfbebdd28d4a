"""A GET of this API server's own at an aggregated one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from minikube_py.components.apiserver.aggregation.connections import Connections
from minikube_py.components.apiserver.aggregation.identity import identity_headers
from minikube_py.components.apiserver.aggregation.remote import Remote
from minikube_py.components.apiserver.types import UserInfo

if TYPE_CHECKING:
    import aiohttp


async def ask(
    connections: Connections,
    remote: Remote,
    path: str,
    user: UserInfo,
    *,
    longest: int,
    query: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """(status, body) of a GET as ``user``; the caller limits the time.

    Raises OSError and NoEndpoint when the server cannot be reached, ValueError for more than ``longest`` bytes.
    """
    import aiohttp

    session = await connections.session(remote)
    # Sessions hand on what they get as it is: nothing compressed is asked for.
    headers = [*identity_headers(user), ("Accept", "application/json"), ("Accept-Encoding", "identity")]
    try:
        async with session.get(f"{remote.url}{path}", params=query, headers=headers, allow_redirects=False) as answer:
            return answer.status, await _body(answer.content, longest)
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from error


async def _body(content: aiohttp.StreamReader, longest: int) -> bytes:
    parts, size = [], 0
    async for part in content.iter_any():
        size += len(part)
        if size > longest:
            raise ValueError(f"the answer has more than {longest} bytes")
        parts.append(part)
    return b"".join(parts)
