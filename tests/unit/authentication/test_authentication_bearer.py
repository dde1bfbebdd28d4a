"""Where a request may carry a bearer token, and what is not one."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict
from open_server import Everybody, open_server

from minikube_py.components.apiserver.authentication.bearer import PROTOCOL_PREFIX, bearer_token, token_of
from minikube_py.components.apiserver.types import Credentials, UserInfo
from minikube_py.machinery.errors import ApiError

UPGRADE = {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}


def protocol(token: str) -> str:
    return PROTOCOL_PREFIX + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("header", "token"),
    [
        pytest.param("Bearer abc", "abc", id="as it should be"),
        pytest.param("bEARER abc", "abc", id="any case"),
        pytest.param("  Bearer abc  ", "abc", id="blanks around"),
        pytest.param("Bearer abc def", "abc", id="words behind"),
        pytest.param("Bearer  abc", "", id="two blanks"),
        pytest.param("Bearer", "", id="no token"),
        pytest.param("Bearerabc", "", id="no blank"),
        pytest.param("Basic YTpi", "", id="another scheme"),
        pytest.param("", "", id="no header"),
    ],
)
def test_the_authorization_header(header: str, token: str) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        pytest.param({"Sec-WebSocket-Protocol": f"v5.channel.k8s.io, {protocol('t~?')}"}, "t~?", id="beside another"),
        pytest.param({"Sec-WebSocket-Protocol": f"{protocol('t')},v5.channel.k8s.io"}, "t", id="before it"),
        pytest.param({"Sec-WebSocket-Protocol": "v5.channel.k8s.io"}, "", id="no token"),
        pytest.param(
            {"Sec-WebSocket-Protocol": f"x, {protocol('t')}", "Authorization": "Bearer h"}, "h", id="the header first"
        ),
        pytest.param({"Sec-WebSocket-Protocol": f"x, {protocol('t')}", "Upgrade": "h2c"}, "", id="no WebSocket"),
        pytest.param({"Sec-WebSocket-Protocol": f"x, {protocol('t')}", "Connection": "close"}, "", id="no upgrade"),
        pytest.param({"Sec-WebSocket-Protocol": f"x, {PROTOCOL_PREFIX}"}, "", id="an empty one"),
    ],
)
def test_the_subprotocol_of_a_websocket(headers: dict[str, str], token: str) -> None:
    assert token_of(CIMultiDict({**UPGRADE, **headers})) == token


@pytest.mark.parametrize(
    "offered",
    [
        pytest.param(protocol("t"), id="nothing to answer with"),
        pytest.param(f"x, {protocol('t')}, {protocol('u')}", id="two tokens"),
        pytest.param(f"x, {PROTOCOL_PREFIX}YQ==", id="padding"),
        pytest.param(f"x, {PROTOCOL_PREFIX}a+b/", id="not the alphabet of URLs"),
        pytest.param(f"x, {PROTOCOL_PREFIX}_w", id="not UTF-8"),
        pytest.param(f"x, {PROTOCOL_PREFIX}a", id="cut short"),
    ],
)
def test_subprotocols_that_are_refused(offered: str) -> None:
    with pytest.raises(ApiError) as caught:
        token_of(CIMultiDict({**UPGRADE, "Sec-WebSocket-Protocol": offered}))
    assert caught.value.code == 401


@dataclass(frozen=True)
class Noting(Everybody):
    """Notes the tokens that it is shown."""

    tokens: list[str] = field(default_factory=list)

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        self.tokens.append(credentials.bearer_token)
        return self.user


@pytest.mark.parametrize(
    ("headers", "status", "tokens"),
    [
        pytest.param({"Authorization": "Bearer h"}, 200, ["h"], id="in the header"),
        pytest.param({**UPGRADE, "Sec-WebSocket-Protocol": f"x, {protocol('t')}"}, 200, ["t"], id="in the subprotocol"),
        pytest.param({**UPGRADE, "Sec-WebSocket-Protocol": f"x, {protocol('t')}=="}, 401, [], id="one that is broken"),
        pytest.param({}, 200, [""], id="nowhere"),
    ],
)
async def test_the_server_shows_the_token_to_its_authenticators(
    headers: dict[str, str], status: int, tokens: list[str], tmp_path: Path
) -> None:
    noting = Noting()
    async with open_server(tmp_path, everybody=noting) as api, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{api.port}/version"
        async with session.get(url, headers=headers) as answer:
            assert (answer.status, noting.tokens) == (status, tokens)
