"""Certificate signing requests: who is approved, what is signed, when it is all forgotten."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from controllers_world import World
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minikube_py.components.controllers.certificates.approving import ApprovingController
from minikube_py.components.controllers.certificates.cleaning import CleaningController, expiry
from minikube_py.components.controllers.certificates.requests import (
    CLIENT_SIGNER,
    KUBELET_CLIENT_SIGNER,
    KUBELET_SERVING_SIGNER,
    LEGACY_SIGNER,
    SIGNER_PROBLEMS,
    parse_request,
)
from minikube_py.components.controllers.certificates.serving_approving import ServingApprovingController
from minikube_py.components.controllers.certificates.signing import SigningController, lifetime
from minikube_py.components.controllers.kit import Kit
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS, NODES, SUBJECT_ACCESS_REVIEWS, Resource
from minikube_py.machinery.times import rfc3339
from minikube_py.pki.certificates import certificate_pem, make_authority, utc_time

KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_USAGES = ["client auth", "digital signature", "key encipherment"]
SERVING_USAGES = ["server auth", "digital signature", "key encipherment"]
HOUR = 3600.0


def pem(
    common_name: str = "system:node:n1",
    organizations: Sequence[str] = ("system:nodes",),
    names: Sequence[x509.GeneralName] = (),
) -> bytes:
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, text) for text in organizations]
    attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def make(name: str = "r", request: bytes | None = None, signer: str = KUBELET_CLIENT_SIGNER, **spec: Any) -> Object:
    encoded = base64.b64encode(pem() if request is None else request).decode()
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {"request": encoded, "signerName": signer, "usages": CLIENT_USAGES, "username": "u", **spec},
    }


async def created(world: World, request: Object, *conditions: Object, certificate: bytes = b"") -> Object:
    live = await world.client.create(CERTIFICATE_SIGNING_REQUESTS, request)
    if not conditions and not certificate:
        return live
    draft = thaw(live)
    draft["status"] = {"conditions": list(conditions)}
    if certificate:
        draft["status"]["certificate"] = base64.b64encode(certificate).decode()
    return await world.client.update(CERTIFICATE_SIGNING_REQUESTS, draft, subresource="status")


def decided(world: World, type: str) -> Object:
    stamp = rfc3339(world.clock.now())
    return {"type": type, "status": "True", "lastUpdateTime": stamp, "lastTransitionTime": stamp}


def live(world: World, name: str = "r") -> Object:
    return world.client.one(CERTIFICATE_SIGNING_REQUESTS, name)


def conditions(world: World, name: str = "r") -> list[tuple[str, str, str]]:
    found = (live(world, name).get("status") or {}).get("conditions") or ()
    return [(one["type"], one.get("reason", ""), one.get("message", "")) for one in found]


# Approving


def allow(world: World, monkeypatch: pytest.MonkeyPatch, *permissions: str) -> list[Object]:
    """Answer reviews: what is listed is allowed. The list of reviews that were asked."""
    asked: list[Object] = []
    create = world.client.create

    async def review(resource: Resource, obj: Object, *args: Any, **options: Any) -> Object:
        if resource != SUBJECT_ACCESS_REVIEWS:
            return await create(resource, obj, *args, **options)
        asked.append(obj["spec"])
        return {"status": {"allowed": obj["spec"]["resourceAttributes"]["subresource"] in permissions}}

    monkeypatch.setattr(world.client, "create", review)
    return asked


@pytest.mark.parametrize(
    ("username", "permissions", "reviews", "message"),
    [
        ("system:bootstrap:abcdef", ["nodeclient"], ["nodeclient"], "Auto approving kubelet client certificate"),
        ("system:node:n1", ["selfnodeclient"], ["selfnodeclient"], "Auto approving self kubelet client certificate"),
        ("system:node:n1", ["nodeclient"], ["selfnodeclient", "nodeclient"], "Auto approving kubelet client"),
        ("system:node:n2", ["selfnodeclient"], ["nodeclient"], ""),
        ("system:node:n1", [], ["selfnodeclient", "nodeclient"], ""),
    ],
    ids=["bootstrapping", "own renewal", "own by the other right", "another node's", "no right"],
)
async def test_kubelet_client_certificates(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    username: str,
    permissions: list[str],
    reviews: list[str],
    message: str,
) -> None:
    asked = allow(world, monkeypatch, *permissions)
    world.start(ApprovingController)
    await world.client.create(
        CERTIFICATE_SIGNING_REQUESTS, make(username=username, groups=["g"], uid="7", extra={"k": ["v"]})
    )
    await world.settle()
    assert [review["resourceAttributes"]["subresource"] for review in asked] == reviews
    who = {"user": username, "groups": ["g"], "uid": "7", "extra": {"k": ["v"]}}
    assert who.items() <= asked[0].items()
    assert bool(message) == bool(conditions(world))
    if message:
        assert conditions(world)[0][:2] == ("Approved", "AutoApproved") and message in conditions(world)[0][2]


@pytest.mark.parametrize(
    "request_",
    [
        make(signer=CLIENT_SIGNER),
        make(signer=KUBELET_SERVING_SIGNER, usages=SERVING_USAGES),
        make(usages=["client auth"]),
        make(request=pem(organizations=["system:masters"])),
        make(request=pem(organizations=["system:nodes", "system:masters"])),
        make(request=pem(common_name="admin")),
        make(request=pem(names=[x509.DNSName("n1")])),
        make(request=b"junk"),
    ],
    ids=["client", "serving", "usages", "masters", "two groups", "no node", "names", "junk"],
)
async def test_everything_else_waits_for_a_human(
    world: World, monkeypatch: pytest.MonkeyPatch, request_: Object
) -> None:
    asked = allow(world, monkeypatch, "nodeclient", "selfnodeclient")
    world.start(ApprovingController)
    await world.client.create(CERTIFICATE_SIGNING_REQUESTS, request_)
    await world.settle()
    assert not asked and not conditions(world)


async def test_what_was_denied_stays_denied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = allow(world, monkeypatch, "nodeclient")
    await created(world, make(), decided(world, "Denied"))
    world.start(ApprovingController)
    await world.settle()
    assert not asked


async def with_node(world: World, name: str, *addresses: str) -> None:
    listed = [{"type": "InternalIP", "address": address} for address in addresses]
    await world.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    node = thaw(world.client.one(NODES, name))
    node["status"] = {"addresses": listed}
    await world.client.update(NODES, node, subresource="status")


@pytest.mark.parametrize(
    ("groups", "username", "decision"),
    [
        (["joiners"], "system:bootstrap:node", ("Denied", "NodeNameTaken")),
        (["others"], "system:bootstrap:abcdef", ("Approved", "AutoApproved")),
        (["joiners"], "system:node:n1", ("Approved", "AutoApproved")),
    ],
    ids=["by a token of ours", "by another group, as in Kubernetes", "by the node itself"],
)
async def test_name_of_a_node_that_exists(
    world: World, monkeypatch: pytest.MonkeyPatch, groups: list[str], username: str, decision: tuple[str, str]
) -> None:
    allow(world, monkeypatch, "nodeclient", "selfnodeclient")
    settings = replace(world.kit.settings, joining_group="joiners")
    world.kit = replace(world.kit, settings=settings)
    await with_node(world, "n1")
    world.start(ApprovingController)
    await world.client.create(CERTIFICATE_SIGNING_REQUESTS, make(username=username, groups=groups))
    await world.settle()
    assert [one[:2] for one in conditions(world)] == [decision]


async def test_new_name_is_approved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(world, monkeypatch, "nodeclient")
    world.kit = replace(world.kit, settings=replace(world.kit.settings, joining_group="joiners"))
    await with_node(world, "n2")
    world.start(ApprovingController)
    request = make(username="system:bootstrap:node", groups=["joiners"])
    await world.client.create(CERTIFICATE_SIGNING_REQUESTS, request)
    await world.settle()
    assert [one[0] for one in conditions(world)] == ["Approved"]


def serving(*names: x509.GeneralName, username: str = "system:node:n1", **spec: Any) -> Object:
    spec = {"groups": ["system:nodes"], "usages": SERVING_USAGES, **spec}
    return make(request=pem(names=names), signer=KUBELET_SERVING_SIGNER, username=username, **spec)


NAME, OWN, OTHER = (
    x509.DNSName("n1"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.IPAddress(ipaddress.ip_address("192.0.2.2")),
)


@pytest.mark.parametrize(
    ("request_", "approved"),
    [
        pytest.param(serving(NAME, OWN), True, id="own name and address"),
        pytest.param(serving(OWN, usages=["server auth", "digital signature"]), True, id="address alone, EC usages"),
        pytest.param(serving(NAME, OTHER), False, id="another node's address"),
        pytest.param(serving(NAME, x509.IPAddress(ipaddress.ip_address("10.43.0.1"))), False, id="the API's address"),
        pytest.param(serving(NAME, x509.DNSName("kubernetes.default")), False, id="the API's name"),
        pytest.param(serving(NAME, OWN, username="system:node:n2"), False, id="asked by another node"),
        pytest.param(serving(NAME, OWN, groups=["g"]), False, id="asked by no node"),
        pytest.param(serving(NAME, OWN, usages=CLIENT_USAGES), False, id="for a client"),
        pytest.param(serving(NAME, x509.IPAddress(ipaddress.ip_address("192.0.2.3"))), False, id="a shared address"),
        pytest.param(make(request=b"junk", signer=KUBELET_SERVING_SIGNER), False, id="junk"),
        pytest.param(make(username="system:node:n1"), False, id="a client certificate"),
    ],
)
async def test_serving_certificates_of_nodes(world: World, request_: Object, approved: bool) -> None:
    await with_node(world, "n1", "192.0.2.1", "192.0.2.3")
    await with_node(world, "n2", "192.0.2.2", "192.0.2.3")
    world.start(ServingApprovingController)
    await world.client.create(CERTIFICATE_SIGNING_REQUESTS, request_)
    await world.settle()
    assert [one[0] for one in conditions(world)] == (["Approved"] if approved else [])


async def test_serving_certificate_waits_for_its_node(world: World) -> None:
    world.start(ServingApprovingController)
    await world.client.create(CERTIFICATE_SIGNING_REQUESTS, serving(NAME, OWN))
    await world.settle()
    assert not conditions(world)
    await with_node(world, "n1", "192.0.2.1")
    await world.settle()
    assert [one[0] for one in conditions(world)] == ["Approved"]


# Signing


@pytest.fixture
def signed(world: World) -> list[tuple[str, Sequence[str], float]]:
    """Start the signing loop with a signer that answers PEM; what it was asked."""
    asked: list[tuple[str, Sequence[str], float]] = []

    async def sign(signer: str, request: bytes, usages: Sequence[str], seconds: float) -> bytes:
        assert request.startswith(b"-----BEGIN CERTIFICATE REQUEST")
        asked.append((signer, usages, seconds))
        return b"PEM"

    world.kit = Kit(
        world.client, world.clock, world.recorder, replace(world.kit.settings, sign_request=sign), world.kit.resources
    )
    world.start(SigningController)
    return asked


@pytest.mark.parametrize(
    ("asked_seconds", "seconds"),
    [(None, 365 * 24 * HOUR), (3600, 3600.0), (60, 600.0), (10**9, 365 * 24 * HOUR)],
    ids=["a year unless asked", "as asked", "ten minutes at least", "a year at most"],
)
async def test_approved_request_is_signed(
    world: World, signed: list[tuple[str, Sequence[str], float]], asked_seconds: int | None, seconds: float
) -> None:
    spec = {} if asked_seconds is None else {"expirationSeconds": asked_seconds}
    await created(world, make(**spec), decided(world, "Approved"))
    await world.settle()
    assert signed == [(KUBELET_CLIENT_SIGNER, CLIENT_USAGES, seconds)]
    assert base64.b64decode(live(world)["status"]["certificate"]) == b"PEM"


@pytest.mark.parametrize("name", ["unapproved", "denied", "failed", "signed", "foreign"])
async def test_what_is_not_signed(world: World, signed: list[tuple[str, Sequence[str], float]], name: str) -> None:
    match name:
        case "unapproved":
            await created(world, make())
        case "denied":
            await created(world, make(), decided(world, "Denied"))
        case "failed":
            await created(world, make(), decided(world, "Approved"), decided(world, "Failed"))
        case "signed":
            await created(world, make(), decided(world, "Approved"), certificate=b"OLD")
        case "foreign":
            await created(world, make(signer="example.com/mine"), decided(world, "Approved"))
    await world.settle()
    assert not signed


@pytest.mark.parametrize(
    ("asked_seconds", "longest", "seconds"),
    [(None, 60, 60), (3600, 60, 60), (30, 60, 600), (700, 3600, 700), (3600, 3600, 3600)],
)
def test_lifetime(asked_seconds: int | None, longest: float, seconds: float) -> None:
    """``signer.duration``: the signer's own limit is believed, however short it is."""
    assert lifetime(asked_seconds, longest) == seconds


async def test_broken_promise_fails_the_request(world: World, signed: list[tuple[str, Sequence[str], float]]) -> None:
    await created(world, make(request=pem(organizations=["x"])), decided(world, "Approved"))
    await world.settle()
    failure = ("Failed", "SignerValidationFailure", "subject organization is not system:nodes")
    assert conditions(world)[1] == failure and not signed
    assert live(world)["status"]["conditions"][1]["lastUpdateTime"]


async def test_failed_signature_is_tried_again(world: World) -> None:
    outcomes: list[Exception | bytes] = [OSError("no key"), b"PEM"]

    async def sign(signer: str, request: bytes, usages: Sequence[str], seconds: float) -> bytes:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    world.kit = replace(world.kit, settings=replace(world.kit.settings, sign_request=sign))
    world.start(SigningController)
    await created(world, make(), decided(world, "Approved"))
    await world.settle(10)
    assert live(world)["status"]["certificate"] and not outcomes


MAIL, URI = x509.RFC822Name("a@example.com"), x509.UniformResourceIdentifier("spiffe://x/y")
DNS = x509.DNSName("n1")


@pytest.mark.parametrize(
    ("signer", "request_pem", "usages", "problem"),
    [
        (KUBELET_CLIENT_SIGNER, pem(), CLIENT_USAGES, ""),
        (KUBELET_CLIENT_SIGNER, pem(), ["client auth", "digital signature"], ""),
        (KUBELET_CLIENT_SIGNER, pem(organizations=[]), CLIENT_USAGES, "subject organization is not system:nodes"),
        (KUBELET_CLIENT_SIGNER, pem(names=[DNS]), CLIENT_USAGES, "DNS subjectAltNames are not allowed"),
        (KUBELET_CLIENT_SIGNER, pem(names=[MAIL]), CLIENT_USAGES, "Email subjectAltNames are not allowed"),
        (KUBELET_CLIENT_SIGNER, pem(names=[URI]), CLIENT_USAGES, "URI subjectAltNames are not allowed"),
        (KUBELET_CLIENT_SIGNER, pem("n1"), CLIENT_USAGES, "subject common name does not begin with system:node:"),
        (
            KUBELET_CLIENT_SIGNER,
            pem(),
            SERVING_USAGES,
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (KUBELET_SERVING_SIGNER, pem(names=[DNS]), SERVING_USAGES, ""),
        (KUBELET_SERVING_SIGNER, pem(), SERVING_USAGES, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING_SIGNER, pem(names=[DNS, MAIL]), SERVING_USAGES, "Email subjectAltNames are not allowed"),
        (KUBELET_SERVING_SIGNER, pem(names=[DNS, URI]), SERVING_USAGES, "URI subjectAltNames are not allowed"),
        (
            KUBELET_SERVING_SIGNER,
            pem("n1", names=[DNS]),
            CLIENT_USAGES,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (
            KUBELET_SERVING_SIGNER,
            pem("n1", names=[DNS]),
            SERVING_USAGES,
            "subject common name does not begin with system:node:",
        ),
        (CLIENT_SIGNER, pem("jane", ["devs"]), ["client auth"], ""),
        (CLIENT_SIGNER, pem("jane"), SERVING_USAGES, "invalid usage for client certificate: server auth"),
        (
            CLIENT_SIGNER,
            pem("jane"),
            ["digital signature"],
            "missing required usage for client certificate: client auth",
        ),
        (LEGACY_SIGNER, pem("anybody", []), ["any"], ""),
    ],
)
def test_what_signers_promise(signer: str, request_pem: bytes, usages: list[str], problem: str) -> None:
    asked = parse_request(make(request=request_pem))
    assert SIGNER_PROBLEMS[signer](asked, usages) == problem


# Cleaning


def short_lived(now: float) -> bytes:
    """A certificate that ends 1800 s after ``now`` (rounded as X.509 does)."""
    authority = make_authority("x", now)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(authority.key.public_key())
        .serial_number(1)
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(utc_time(now + 1800))
        .sign(authority.key, hashes.SHA256())
    )
    return certificate_pem(certificate)


@pytest.mark.parametrize(
    ("types", "certificate", "seconds"),
    [
        ([], None, 24 * HOUR),
        (["Approved"], None, 24 * HOUR),
        (["Approved"], lambda now: b"unreadable", HOUR),
        (["Approved"], short_lived, 1800.0),
        (["Denied"], None, HOUR),
        (["Approved", "Failed"], None, HOUR),
        (["Other"], None, None),
    ],
    ids=["pending", "approved, unsigned", "issued", "issued, expired", "denied", "failed", "something else"],
)
async def test_requests_have_their_time(
    world: World, types: list[str], certificate: Callable[[float], bytes] | None, seconds: float | None
) -> None:
    given = certificate(world.clock.now()) if certificate else b""
    await created(world, make(), *(decided(world, each) for each in types), certificate=given)
    world.start(CleaningController)
    if seconds is None:
        await world.settle(48 * HOUR)
        assert expiry(live(world)) is None
        return
    await world.settle(seconds - 5)
    assert world.client.all(CERTIFICATE_SIGNING_REQUESTS)
    await world.settle(10)
    assert not world.client.all(CERTIFICATE_SIGNING_REQUESTS)
