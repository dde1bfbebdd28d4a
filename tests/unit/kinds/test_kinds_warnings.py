"""Warnings of kinds: deprecated names, odd addresses, values that mean something else than they seem to."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apps import deployment
from minikube_py.machinery.kinds.common.pod_template_warnings import template_warnings
from minikube_py.machinery.kinds.core import node, persistent_volume, persistent_volume_claim, pod
from minikube_py.machinery.kinds.discovery import endpoint_slice
from minikube_py.machinery.kinds.networking import network_policy
from minikube_py.machinery.kinds.node import runtime_class
from minikube_py.machinery.kinds.storage import csi_storage_capacity, storage_class
from minikube_py.machinery.objects import Object

ARCH = 'deprecated since v1.14; use "kubernetes.io/arch" instead'
OLD_ARCH = "beta.kubernetes.io/arch"
LEADING_ZERO = 'non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes release'
DOTTED: Object = {"metadata": {"name": "a.b"}, "spec": {}}


@pytest.mark.parametrize(
    ("kind", "made", "wanted"),
    [
        pytest.param(
            pod.KIND,
            DOTTED,
            [
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
                "a DNS label is recommended: [must not contain dots]"
            ],
            id="a pod's name",
        ),
        pytest.param(
            deployment.KIND,
            DOTTED,
            [
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                "a DNS label is recommended: [must not contain dots]"
            ],
            id="a deployment's name",
        ),
        pytest.param(
            persistent_volume.KIND,
            {
                "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}},
                "spec": {
                    "persistentVolumeReclaimPolicy": "Recycle",
                    "storageos": {},
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [{"matchExpressions": [{"key": OLD_ARCH, "operator": "Exists"}]}]
                        }
                    },
                },
            },
            [
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
                '"storageClassName" attribute instead',
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                "recommended approach is to use dynamic provisioning.",
                f"spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: {OLD_ARCH} is {ARCH}",
                "spec.storageOS: deprecated in v1.22, non-functional in v1.25+",
            ],
            id="a volume of yesterday",
        ),
        pytest.param(
            persistent_volume_claim.KIND,
            {"spec": {"resources": {"requests": {"storage": "1500m"}}}},
            [
                'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer',
            ],
            id="bytes are whole",
        ),
        pytest.param(
            endpoint_slice.KIND,
            {"addressType": "FQDN", "endpoints": []},
            ["spec.addressType: FQDN endpoints are deprecated"],
            id="names as addresses",
        ),
        pytest.param(
            endpoint_slice.KIND,
            {"addressType": "IPv4", "endpoints": [{"addresses": ["010.0.0.1"]}]},
            [f'endpoints[0].addresses[0]: {LEADING_ZERO}: use "10.0.0.1"'],
            id="leading zeros",
        ),
        pytest.param(
            endpoint_slice.KIND,
            {
                "metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["010.0.0.1"]}],
            },
            [],
            id="controllers write what they were given",
        ),
        pytest.param(
            network_policy.KIND,
            {"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}},
            [
                'spec.egress[0].to[0].ipBlock.cidr: CIDR value "10.0.0.1/8" is ambiguous in this context (should be '
                '"10.0.0.0/8" or "10.0.0.1/32"?)'
            ],
            id="an address and a prefix",
        ),
        pytest.param(
            node.KIND,
            {"spec": {"externalID": "x", "podCIDRs": ["10.0.0.0/24"]}},
            ["spec.externalID: this field is deprecated, and is unused by Kubernetes"],
            id="an id that nothing reads",
        ),
        pytest.param(
            storage_class.KIND,
            {"allowedTopologies": [{"matchLabelExpressions": [{"key": OLD_ARCH, "values": ["a"]}]}]},
            [f"allowedTopologies[0].matchLabelExpressions[0].key: {ARCH}"],
            id="topologies of a class",
        ),
        pytest.param(
            csi_storage_capacity.KIND,
            {"nodeTopology": {"matchLabels": {OLD_ARCH: "a"}}},
            [f"nodeTopology.matchLabels.{OLD_ARCH}: {ARCH}"],
            id="topology of a capacity",
        ),
        pytest.param(
            runtime_class.KIND,
            {"scheduling": {"nodeSelector": {OLD_ARCH: "a"}}},
            [f"scheduling.nodeSelector: {ARCH}"],
            id="nodes of a runtime class",
        ),
    ],
)
def test_new_objects(kind: Kind, made: Object, wanted: list[str]) -> None:
    assert kind.warnings is not None
    assert kind.warnings(made, None) == wanted


def test_names_are_warned_of_once() -> None:
    assert deployment.KIND.warnings is not None
    assert deployment.KIND.warnings(DOTTED, DOTTED) == []


def container(**fields: Any) -> Object:
    return {"name": "c", "image": "i", **fields}


NOTHING = "a null labelSelector results in matching no pod"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({"containers": [container()]}, [], id="nothing to say"),
        pytest.param(
            {"nodeSelector": {"node-role.kubernetes.io/master": ""}},
            ['nodeSelector[node-role.kubernetes.io/master]: use "node-role.kubernetes.io/control-plane" instead'],
            id="the old name of control planes",
        ),
        pytest.param(
            {
                "affinity": {
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "preference": {
                                    "matchExpressions": [{"key": "a", "operator": "In", "values": ["good", "a" * 64]}]
                                },
                            }
                        ]
                    }
                }
            },
            [
                "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference"
                f".matchExpressions[0].values[1]: {'a' * 64} is invalid, must be no more than 63 bytes"
            ],
            id="values that no label has",
        ),
        pytest.param(
            {"topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname"}]},
            [f"topologySpreadConstraints[0].labelSelector: {NOTHING}"],
            id="spreads nothing",
        ),
        pytest.param(
            {"containers": [container(resources={"limits": {"memory": "1500m"}})]},
            ['containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer'],
            id="a thousandth of a byte",
        ),
        pytest.param(
            {"containers": [container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])]},
            ['containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'],
            id="a variable hides another",
        ),
        pytest.param(
            {"containers": [container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}])]},
            [],
            id="a variable that grows",
        ),
        pytest.param(
            {
                "containers": [
                    container(
                        ports=[{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]
                    )
                ]
            },
            ["containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"],
            id="a port twice",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]},
            ["volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"],
            id="volumes of yesterday",
        ),
        pytest.param(
            {"hostAliases": [{"ip": "010.0.0.1"}], "terminationGracePeriodSeconds": -1},
            [
                "terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                f'hostAliases[0].ip: {LEADING_ZERO}: use "10.0.0.1"',
            ],
            id="addresses come last",
        ),
    ],
)
def test_pods(fields: Object, wanted: list[str]) -> None:
    assert template_warnings("", {"spec": fields}) == [f"spec.{text}" for text in wanted]
