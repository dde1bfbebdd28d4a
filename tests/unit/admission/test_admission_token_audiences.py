"""NodeRestriction: for which audiences a kubelet gets tokens of its pods."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.node_restriction import NodeRestriction
from minikube_py.components.apiserver.admission.token_audiences import CSI_DRIVERS, TokenAudiences
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Attributes, Decision, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SERVICE_ACCOUNTS

NODE = UserInfo("system:node:n1", ("system:nodes",))
NOT_FOUND = (
    'audience "{}" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience'
)


def projected(*audiences: str | None) -> dict[str, Any]:
    tokens = [{"path": "t", **({"audience": audience} if audience else {})} for audience in audiences]
    return {"name": "v", "projected": {"sources": [{"serviceAccountToken": token} for token in tokens]}}


class Granted:
    """Allows one audience for one service account."""

    def __init__(self, *rights: tuple[str, str]) -> None:
        self.rights = rights

    async def authorize(self, user: UserInfo, a: Attributes) -> tuple[Decision, str]:
        assert (user, a.verb, a.group, a.namespace) == (NODE, "request-serviceaccounts-token-audience", "", "ns")
        return (Decision.ALLOW if (a.resource, a.name) in self.rights else Decision.NO_OPINION), ""


async def ask(audiences: list[str], volumes: list[dict[str, Any]], *rights: tuple[str, str]) -> None:
    client = FakeClient(FakeClock())
    meta = {"name": "p", "namespace": "ns", "uid": "u"}
    client.seed(PODS, {"metadata": meta, "spec": {"nodeName": "n1", "volumes": volumes}})
    for claim in ("data", "p-scratch"):
        client.seed(
            PERSISTENT_VOLUME_CLAIMS,
            {"metadata": {"name": claim, "namespace": "ns"}, "spec": {"volumeName": f"pv-{claim}"}},
        )
        client.seed(
            PERSISTENT_VOLUMES, {"metadata": {"name": f"pv-{claim}"}, "spec": {"csi": {"driver": f"{claim}.csi"}}}
        )
    for driver in ("data.csi", "p-scratch.csi", "inline.csi"):
        requests = [{"audience": f"for-{driver}"}]
        client.seed(CSI_DRIVERS, {"metadata": {"name": driver}, "spec": {"tokenRequests": requests}})
    lookups = [Lookup(client, resource) for resource in (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, CSI_DRIVERS)]
    audiences_of = TokenAudiences(*lookups, Granted(*rights))
    plugin = NodeRestriction(Lookup(client, PODS), Lookup(client, NODES), audiences_of)
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
    draft = {"metadata": {}, "spec": {"audiences": audiences, "boundObjectRef": reference}}
    request = AdmissionRequest(
        Operation.CREATE, Kind(SERVICE_ACCOUNTS, "x", "x"), "token", "ns", "bot", NODE, draft, None, {}
    )
    assert plugin.handles(request)
    await plugin.admit(request)


CLAIM = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}
EPHEMERAL = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}
INLINE = {"name": "i", "csi": {"driver": "inline.csi"}}


@pytest.mark.parametrize(
    ("audiences", "volumes"),
    [
        ([], [projected(None)]),
        (["vault"], [projected("vault")]),
        (["vault"], [{"name": "x", "emptyDir": {}}, projected(None, "vault")]),
        (["for-data.csi"], [CLAIM]),
        (["for-p-scratch.csi"], [EPHEMERAL]),
        (["for-inline.csi"], [INLINE]),
    ],
    ids=["default", "projected", "second source", "claim", "ephemeral claim", "inline"],
)
async def test_audiences_of_the_pods_volumes(audiences: list[str], volumes: list[dict[str, Any]]) -> None:
    await ask(audiences, volumes)


@pytest.mark.parametrize(
    ("audiences", "volumes", "text"),
    [
        ([], [], NOT_FOUND.format("")),
        (["vault"], [projected(None)], NOT_FOUND.format("vault")),
        ([], [projected("vault")], NOT_FOUND.format("")),
        (["for-inline.csi"], [CLAIM], NOT_FOUND.format("for-inline.csi")),
        (["x"], [{"name": "n", "persistentVolumeClaim": {"claimName": "none"}}], NOT_FOUND.format("x")),
        (["x"], [{"name": "n", "csi": {"driver": "none"}}], NOT_FOUND.format("x")),
        (["vault", "other"], [projected("vault", "other")], "node may only request 0 or 1 audiences"),
    ],
)
async def test_other_audiences(audiences: list[str], volumes: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(ApiError) as caught:
        await ask(audiences, volumes)
    assert (caught.value.code, caught.value.message) == (403, f'serviceaccounts "bot" is forbidden: {text}')


async def test_audiences_that_are_granted() -> None:
    await ask(["registry"], [], ("registry", "bot"))
    with pytest.raises(ApiError):
        await ask(["registry"], [], ("registry", "other"))
