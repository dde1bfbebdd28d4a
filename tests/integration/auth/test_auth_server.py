"""A server process with an OIDC issuer, a webhook authorizer and a token webhook on the loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from minikube_py.pki import certificates as x

NOW = time.time()
CA = x.make_authority("services", NOW)
CA_PEM = x.certificate_pem(CA.certificate).decode()
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
CONFIG = "apiserver.config.k8s.io/v1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Services:
    """Issuer, authorizer and token reviewer behind one TLS port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.denied: set[str] = set()
        self.hanging = False
        key = x.new_key()
        leaf = x.issue(CA, x.Subject(common_name="s", addresses=("127.0.0.1",)), key.public_key(), [x.SERVER_AUTH], NOW)
        (folder / "tls.crt").write_bytes(x.certificate_pem(leaf))
        (folder / "tls.key").write_bytes(x.key_pem(key))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")

    async def answer(self, request: web.BaseRequest) -> web.Response:
        match request.path:
            case "/.well-known/openid-configuration":
                return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
            case "/keys":
                jwk = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
                return web.json_response({"keys": [{**jwk, "kid": "k", "use": "sig"}]})
        review = json.loads(await request.read())
        if self.hanging:
            await asyncio.sleep(30)
        if request.path == "/authorize":
            spec = review["spec"]
            if spec["user"] in self.denied:
                status: Any = {"allowed": False, "denied": True, "reason": "not on my watch"}
            else:
                verb = (spec.get("resourceAttributes") or {}).get("verb")
                status = {"allowed": verb == "list", "reason": "the service says so"}
        else:
            known = review["spec"]["token"] == "opaque"
            status = {"authenticated": known, "user": {"username": "hooked", "groups": ["h"]} if known else {}}
        return web.json_response({**review, "status": status})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = web.Server(self.answer)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(server, "127.0.0.1", self.port, ssl=self._tls)
        try:
            yield
        finally:
            listening.close()
            await server.shutdown(0.1)

    def kubeconfig(self, folder: Path, path: str) -> str:
        file = folder / f"{path}.kubeconfig"
        data = base64.b64encode(CA_PEM.encode()).decode()
        cluster = {"server": f"{self.url}/{path}", "certificate-authority-data": data}
        content = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [{"name": "x", "context": {"cluster": "c"}}],
            "current-context": "x",
        }
        file.write_text(yaml.safe_dump(content))
        return str(file)

    def token(self, **claims: Any) -> str:
        body = {"iss": self.url, "aud": "k8s", "sub": "joe", "exp": time.time() + 600, **claims}
        return jwt.encode(body, KEY, "RS256", {"kid": "k"})


class Server:
    """The process and requests to it."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.folder, self.services, self.port = folder, services, free_port()
        self.authentication = folder / "authentication.yaml"
        self.authorization = folder / "authorization.yaml"

    def write_authentication(self, **fields: Any) -> None:
        entry = {
            "issuer": {"url": self.services.url, "audiences": ["k8s"], "certificateAuthority": CA_PEM},
            "claimMappings": {"username": {"expression": "'oidc:' + claims.sub"}},
        }
        anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
        body = {"apiVersion": CONFIG, "kind": "AuthenticationConfiguration", "jwt": [{**entry, **fields}]}
        self.authentication.write_text(yaml.safe_dump({**body, "anonymous": anonymous}))

    def write_authorization(self, *before: str) -> None:
        webhook = {
            "timeout": "1s", "authorizedTTL": "1s", "unauthorizedTTL": "1s", "failurePolicy": "NoOpinion",
            "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
            "connectionInfo": {
                "type": "KubeConfigFile",
                "kubeConfigFile": self.services.kubeconfig(self.folder, "authorize"),
            },
            "matchConditions": [{"expression": "request.user.startsWith('oidc:')"}],
        }  # fmt: skip
        chain = [{"type": mode, "name": mode.lower()} for mode in before]
        chain.append({"type": "Webhook", "name": "watch", "webhook": webhook})
        chain += [{"type": mode, "name": mode.lower()} for mode in ("Node", "RBAC")]
        body = {"apiVersion": CONFIG, "kind": "AuthorizationConfiguration", "authorizers": chain}
        self.authorization.write_text(yaml.safe_dump(body))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tokens = self.folder / "tokens.csv"
        tokens.write_text('admin,admin,1,"system:masters"\n')
        arguments = {
            "data-dir": self.folder / "d", "write-kubeconfig": self.folder / "k", "bind-address": "127.0.0.1",
            "https-listen-port": self.port, "token-auth-file": tokens, "node-ip": "198.51.100.7",
            "authentication-config": self.authentication, "authorization-config": self.authorization,
            "authentication-token-webhook-config-file": self.services.kubeconfig(self.folder, "review"),
            "authentication-token-webhook-version": "v1",
        }  # fmt: skip
        flags = [f"--{name}={value}" for name, value in arguments.items()]
        script = Path(sys.executable).parent / "pyk3s"
        log = (self.folder / "log").open("wb")
        process = await asyncio.create_subprocess_exec(
            str(script), "server", *flags, "--disable-agent", "--disable-scheduler", stderr=log, stdout=log
        )
        try:
            await self.until(lambda: self.ask("GET", "/readyz", "admin"), 200, seconds=30)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 20)
            log.close()

    async def ask(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> tuple[int, Any]:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            url = f"https://127.0.0.1:{self.port}{path}"
            async with session.request(method, url, headers=headers, json=body) as response:
                text = await response.text()
                return response.status, json.loads(text) if text.startswith("{") else text

    async def until(self, asked: Any, status: int, *, seconds: float) -> Any:
        """Ask until the status is this one; the body."""
        end = time.monotonic() + seconds
        while True:
            try:
                found, body = await asked()
            except aiohttp.ClientError:
                found, body = 0, None
            if found == status:
                return body
            if time.monotonic() > end:
                raise AssertionError(f"still {found}: {body}; log: {(self.folder / 'log').read_text()[-3000:]}")
            await asyncio.sleep(0.1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    services = Services(tmp_path)
    server = Server(tmp_path, services)
    server.write_authentication()
    server.write_authorization()
    async with services.serving(), server.running():
        yield server


async def test_identities_and_rights_from_outside(server: Server) -> None:
    services = server.services
    status, body = await server.ask("POST", WHO, services.token(), REVIEW)
    assert (status, body["status"]["userInfo"]["username"]) == (201, "oidc:joe")
    status, body = await server.ask("POST", WHO, "opaque", REVIEW)
    assert body["status"]["userInfo"] == {"username": "hooked", "groups": ["h", "system:authenticated"]}
    assert (await server.ask("POST", WHO, services.token(exp=time.time() - 5), REVIEW))[0] == 401
    assert (await server.ask("POST", WHO, services.token(aud="x"), REVIEW))[0] == 401
    assert (await server.ask("GET", "/livez"))[0] == 200
    assert (await server.ask("GET", "/version"))[0] == 401, "anonymous requests are for /livez alone"

    assert (await server.ask("GET", "/api/v1/pods", services.token()))[0] == 200, "the service allows lists"
    assert (await server.ask("GET", "/api/v1/nodes/x", services.token()))[0] == 403
    services.denied.add("oidc:eve")
    status, body = await server.ask("GET", "/api/v1/pods", services.token(sub="eve"))
    assert (status, body["message"].rpartition(": ")[2]) == (403, "not on my watch")
    services.hanging = True
    status, body = await server.ask("GET", "/api/v1/pods", services.token(sub="late"))
    assert status == 500
    assert "no answer within 1 seconds" in body["message"]
    assert (await server.ask("GET", "/api/v1/pods", "admin"))[0] == 200
    services.hanging = False

    # smuggled headers of a front proxy mean nothing without its certificate
    smuggled = {"X-Remote-User": "root", "X-Remote-Group": "system:masters"}
    _, body = await server.ask("POST", WHO, services.token(), REVIEW, **smuggled)
    assert body["status"]["userInfo"]["username"] == "oidc:joe"
    # paths that look like others are judged as what is served
    for path in ("//api/v1//nodes/x", "/api/v1/%6eodes/x", "/api/v1/nodes/../nodes/x", "/api/v1/nodes%2fx"):
        assert (await server.ask("GET", path, services.token()))[0] in (403, 404), path


async def test_changed_files_are_put_to_use(server: Server) -> None:
    token = server.services.token()
    assert (await server.ask("POST", WHO, token, REVIEW))[0] == 201
    rule = {"expression": "user.username != 'oidc:joe'", "message": "not joe"}
    server.write_authentication(userValidationRules=[rule])
    # what was accepted is remembered for ten seconds at most
    await server.until(lambda: server.ask("POST", WHO, server.services.token(jti="2"), REVIEW), 401, seconds=60)
    server.authentication.write_text("kind: Broken\n")
    server.write_authorization("AlwaysAllow")
    other = server.services.token(sub="ann")
    await server.until(lambda: server.ask("GET", "/api/v1/nodes/x", other), 404, seconds=60)
    assert (await server.ask("POST", WHO, other, REVIEW))[0] == 201, "a broken file changes nothing"


async def test_tokens_in_secrets(server: Server) -> None:
    base = "/api/v1/namespaces/default"
    await server.until(lambda: server.ask("GET", f"{base}/serviceaccounts/default", "admin"), 200, seconds=60)
    annotations = {"kubernetes.io/service-account.name": "default"}
    secret = {"metadata": {"name": "t", "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    assert (await server.ask("POST", f"{base}/secrets", "admin", secret))[0] == 201
    data: dict[str, str] = {}
    for _ in range(100):
        data = (await server.ask("GET", f"{base}/secrets/t", "admin"))[1].get("data") or {}
        if "token" in data:
            break
        await asyncio.sleep(0.1)
    assert {"token", "ca.crt", "namespace"} <= set(data)
    token = base64.b64decode(data["token"]).decode()
    status, body = await server.ask("POST", WHO, token, REVIEW)
    assert (status, body["status"]["userInfo"]["username"]) == (201, "system:serviceaccount:default:default")
    await server.ask("DELETE", f"{base}/secrets/t", "admin")
    assert (await server.ask("POST", WHO, token, REVIEW))[0] == 401


async def test_constrained_impersonation(server: Server) -> None:
    """The user of the token webhook may act as joe to list pods, and for nothing else."""
    group, rbac = "rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1"

    async def grant(name: str, user: str, *rules: dict[str, list[str]]) -> None:
        role = {"metadata": {"name": name}, "rules": list(rules)}
        assert (await server.ask("POST", f"{rbac}/clusterroles", "admin", role))[0] == 201
        subject = {"kind": "User", "apiGroup": group, "name": user}
        reference = {"apiGroup": group, "kind": "ClusterRole", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        assert (await server.ask("POST", f"{rbac}/clusterrolebindings", "admin", binding))[0] == 201

    await grant("read", "joe", {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]})
    await grant(
        "act",
        "hooked",
        {"apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["joe"],
         "verbs": ["impersonate:user-info"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["impersonate-on:user-info:list"]},
    )  # fmt: skip
    joe = {"Impersonate-User": "joe"}
    await server.until(lambda: server.ask("GET", "/api/v1/pods", "opaque", **joe), 200, seconds=60)
    for path, headers in (
        ("/api/v1/nodes", joe),
        ("/api/v1/pods", {"Impersonate-User": "ann"}),
        ("/api/v1/pods", {**joe, "Impersonate-Group": "system:masters"}),
    ):
        status, body = await server.ask("GET", path, "opaque", **headers)
        assert (status, "impersonat" in body["message"]) == (403, True), body
    status, body = await server.ask("GET", "/api/v1/pods", "opaque", **{"Impersonate-Group": "x"})
    assert (status, body["reason"]) == (400, "BadRequest")
