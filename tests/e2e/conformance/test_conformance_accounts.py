"""sig-auth conformance: ServiceAccounts, their tokens in pods, OIDC discovery, reviews of access."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import Any

import pytest
from cluster import KUBECTL, Cluster, wait_until
from conformance_api import STRATEGIC, Api
from conformance_workloads import PATIENCE, container, merge, pod
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def plain(text: str) -> bytes:
    """What a part of a token says."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(plain(token.split(".")[1])))


def output_of(api: Api, core: str, name: str) -> str:
    """Wait until the pod succeeded; its log."""

    def over() -> str:
        phase = str(api("GET", f"{core}/pods/{name}")["status"]["phase"])
        return phase if phase in ("Succeeded", "Failed") else ""

    phase = wait_until(f"{name} is done", over, seconds=PATIENCE)
    text = api.exchange("GET", f"{core}/pods/{name}/log")[2].decode()
    assert phase == "Succeeded", text
    return text


def review(api: Api, token: str, *audiences: str) -> dict[str, Any]:
    spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    return dict(api("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)["status"])


def test_tokens_in_pods(api: Api, core: str, namespace: str) -> None:
    """The mounted token, authority and namespace; a projected token with its audience, file mode and lifetime."""
    projected = {"serviceAccountToken": {"path": "token", "audience": "e2e", "expirationSeconds": 3600}}
    volume = {"name": "own", "projected": {"defaultMode": 0o400, "sources": [projected]}}
    script = f"for f in token namespace ca.crt; do cat {MOUNT}/$f; echo @; done; cat /own/token; echo @; "
    script += "stat -L -c %a /own/token"
    made = pod("tokens", script, volumeMounts=[{"name": "own", "mountPath": "/own"}],
               spec={"restartPolicy": "Never", "volumes": [volume]})  # fmt: skip
    api("POST", f"{core}/pods", made)
    token, inside, authority, own, mode = (part.strip() for part in output_of(api, core, "tokens").split("@\n"))
    assert (inside, mode) == (namespace, "400")
    assert authority == api("GET", f"{core}/configmaps/kube-root-ca.crt")["data"]["ca.crt"].strip()
    user = review(api, token)["user"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert {f"system:serviceaccounts:{namespace}", "system:serviceaccounts"} <= set(user["groups"])
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["tokens"]
    assert not review(api, own).get("authenticated")
    assert review(api, own, "e2e", "other")["audiences"] == ["e2e"]
    claims = claims_of(own)
    assert claims["aud"] == ["e2e"] and claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize("by_account", [None, True, False])
def test_opting_out_of_tokens(api: Api, core: str, by_account: bool | None) -> None:
    """The pod's own word counts more than the account's."""
    said = {} if by_account is None else {"automountServiceAccountToken": by_account}
    api("POST", f"{core}/serviceaccounts", {"metadata": {"name": "mine"}, **said})
    for by_pod in (None, True, False):
        name = f"p-{by_pod}".lower()
        spec = {"serviceAccountName": "mine", "containers": [container()], "nodeName": "no-such-node"}
        spec |= {} if by_pod is None else {"automountServiceAccountToken": by_pod}
        api("POST", f"{core}/pods", {"metadata": {"name": name}, "spec": spec})
        mounts = api("GET", f"{core}/pods/{name}")["spec"]["containers"][0].get("volumeMounts", [])
        wanted = by_account if by_pod is None else by_pod
        assert [mount["mountPath"] for mount in mounts] == ([] if wanted is False else [MOUNT])


def test_life_of_an_account(api: Api, core: str, namespace: str) -> None:
    """Watched from its creation to its end; updated; its tokens are reviewed and end with it."""
    collection = f"{core}/serviceaccounts"
    version = api("GET", collection)["metadata"]["resourceVersion"]
    query = f"?labelSelector=e2e={namespace}"
    with api.watch(collection, labelSelector=f"e2e={namespace}", resourceVersion=version, seconds=60) as following:
        api("POST", collection, {"metadata": {"name": "mine", "labels": {"e2e": namespace}}})
        assert following()[0] == "ADDED"
        path = f"{collection}/mine"
        patched = api("PATCH", path, {"automountServiceAccountToken": False}, media_type=STRATEGIC)
        assert patched["automountServiceAccountToken"] is False and following()[0] == "MODIFIED"
        (listed,) = api("GET", f"/api/v1/serviceaccounts{query}")["items"]
        listed["automountServiceAccountToken"] = True
        assert api("PUT", path, listed)["automountServiceAccountToken"] is True
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        token = api("POST", f"{path}/token", request)["status"]["token"]
        found = review(api, token)
        assert found["authenticated"] and not found.get("error")
        assert found["user"]["username"] == f"system:serviceaccount:{namespace}:mine"
        api("DELETE", collection + query)
        while following()[0] != "DELETED":
            pass
    wait_until("the token is worth nothing", lambda: not review(api, token).get("authenticated"))


def test_root_certificate_in_every_namespace(api: Api, core: str) -> None:
    """It is made, made again when it was deleted, and mended when it was changed."""
    path = f"{core}/configmaps/kube-root-ca.crt"
    wait_until("made", lambda: not api.gone(path))
    authority = api("GET", path)["data"]["ca.crt"]
    api("DELETE", path)
    wait_until("made again", lambda: not api.gone(path))
    merge(api, path, {"data": {"ca.crt": "", "other": "x"}})
    wait_until("mended", lambda: api("GET", path)["data"] == {"ca.crt": authority})


def test_issuer_discovery(api: Api, core: str, namespace: str, cluster: Cluster) -> None:
    """A pod's token leads to the issuer's documents, which the pod may read, and to the key that signed it."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["oidc"]}}
    token = api("POST", f"{core}/serviceaccounts/default/token", request)["status"]["token"]
    mine = api("POST", f"{core}/serviceaccounts/default/token", {**request, "spec": {}})["status"]["token"]
    claims = claims_of(token)
    assert claims["aud"] == ["oidc"] and claims["exp"] > time.time() > claims["nbf"] - 5

    def read(path: str) -> Any:
        asked = ("--server=https://127.0.0.1:6443", "--insecure-skip-tls-verify", f"--token={mine}")
        return json.loads(cluster.run(str(KUBECTL), *asked, "get", "--raw", path))

    document = read("/.well-known/openid-configuration")
    assert document["issuer"] == claims["iss"]
    assert document["response_types_supported"] == ["id_token"] and document["subject_types_supported"] == ["public"]
    keys = read("/openid/v1/jwks")["keys"]
    assert document["jwks_uri"].endswith("/openid/v1/jwks")
    head, payload, signature = token.split(".")

    kid = json.loads(plain(head))["kid"]
    (key,) = (each for each in keys if each["kid"] == kid)
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    x, y = (int.from_bytes(plain(key[part])) for part in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    raw = plain(signature)
    pair = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    public.verify(pair, f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))


def test_access_reviews(api: Api, core: str, namespace: str, cluster: Cluster) -> None:
    """SubjectAccessReview and LocalSubjectAccessReview say what then happens to the account."""
    name = f"a{secrets.token_hex(2)}"
    api("POST", f"{core}/serviceaccounts", {"metadata": {"name": name}})
    user = f"system:serviceaccount:{namespace}:{name}"
    group = "/apis/authorization.k8s.io/v1"
    attributes = {"verb": "list", "resource": "configmaps", "namespace": namespace, "version": "v1"}

    def allowed() -> list[bool]:
        spec = {"user": user, "resourceAttributes": attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "metadata": {"namespace": namespace}, "spec": spec}
        local = f"{group}/namespaces/{namespace}/localsubjectaccessreviews"
        everywhere = {**body, "kind": "SubjectAccessReview", "metadata": {}}
        answers = [
            api("POST", f"{group}/subjectaccessreviews", everywhere),
            api("POST", local, {**body, "kind": "LocalSubjectAccessReview"}),
        ]
        return [answer["status"]["allowed"] for answer in answers]

    def listing() -> str:
        return cluster.kubectl("get", "configmaps", "-n", namespace, f"--as={user}", check=False)

    assert allowed() == [False, False] and "forbidden" in listing()
    cluster.kubectl(
        "create", "rolebinding", "v", "-n", namespace, "--clusterrole=view", f"--serviceaccount={namespace}:{name}"
    )
    wait_until("allowed", lambda: allowed() == [True, True])
    assert "kube-root-ca.crt" in listing()
