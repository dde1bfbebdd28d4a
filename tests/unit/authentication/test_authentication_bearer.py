"""Where a request may carry a bearer token, and what is not one."""

from __future__ import annotations

import base64

import pytest
from multidict import CIMultiDict

from minikube_py.components.apiserver.authentication.bearer import PROTOCOL_PREFIX, bearer_token, token_of
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
