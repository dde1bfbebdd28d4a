"""Single fields of pods against their rules: field path, type and text of each error."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kinds.core.pod import KIND
from minikube_py.machinery.objects import Object, thaw

HOST_USERS = "Forbidden: when `hostUsers` is false"
WHOLE = "[]"


def container(**fields: Any) -> Object:
    return {"name": "c", "image": "i", **fields}


def pod(annotations: Object | None = None, **fields: Any) -> Object:
    """A new pod as it comes to validation."""
    made: Object = {
        "metadata": {"name": "p", "annotations": annotations or {}},
        "spec": {"serviceAccountName": "default", "containers": [container()], **fields},
    }
    KIND.default(made)
    KIND.prepare_create(made)
    return made


def told(made: Object) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in KIND.validate(made)]


def variable(**source: Any) -> Object:
    return {"containers": [container(env=[{"name": "E", "valueFrom": source}])]}


def spread(**fields: Any) -> Object:
    constraint = {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", **fields}
    return {"topologySpreadConstraints": [constraint]}


def initial(**fields: Any) -> Object:
    return {"initContainers": [container(**{"name": "i", **fields})]}


FILE = "spec.containers[0].env[0].valueFrom.fileKeyRef"
RULES = "spec.containers[0].restartPolicyRules[0]"
OVERRIDE = "spec.hostnameOverride: Forbidden: may not be specified when"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
)
TOKEN = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
DISK = {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({"hostUsers": False, "hostPID": True}, [f"spec.HostPID: {HOST_USERS}"], id="host pid"),
        pytest.param({"hostUsers": False, "hostIPC": True}, [f"spec.HostIPC: {HOST_USERS}"], id="host ipc"),
        pytest.param(
            {"hostUsers": False, **DISK, "containers": [container(volumeDevices=[{"name": "d", "devicePath": "/d"}])]},
            [f"spec.containers[0].volumeDevices: {HOST_USERS}"],
            id="devices of another user",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {
                "metadata": {"labels": {"a": "b"}, "name": "n", "uid": "u", "creationTimestamp": None},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}}}]},
            [f"spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.{name}: Forbidden: cannot be set"
             for name in ("name", "uID")],
            id="a claim's name",
        ),
        pytest.param({"hostnameOverride": "a.b"}, [], id="a name of its own"),
        pytest.param(
            {"hostnameOverride": "a", "hostNetwork": True, "setHostnameAsFQDN": True},
            [f"{OVERRIDE} setHostnameAsFQDN is true", f"{OVERRIDE} hostNetwork is true"],
            id="a name that cannot be its own",
        ),
        pytest.param(
            {"hostnameOverride": "a" * 65},
            ["spec.hostnameOverride: Too long: may not be more than 64 bytes"],
            id="a long name",
        ),
        pytest.param(
            {"dnsPolicy": "None"},
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            id="no DNS at all",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"searches": ["A"]}},
            [
                "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when "
                "`dnsPolicy` is None"
            ],
            id="no DNS server",
        ),
        pytest.param({"dnsConfig": {"searches": ["_a.b_c.", "."]}}, [], id="search paths with underscores"),
        pytest.param(
            {"dnsConfig": {"searches": ["a_"]}},
            [f'spec.dnsConfig.searches[0]: Invalid value: "a_": {SUBDOMAIN}'],
            id="an odd search path",
        ),
        pytest.param(
            {"serviceAccountName": "", "volumes": [TOKEN]},
            [
                "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when "
                "serviceAccountName is not set"
            ],
            id="a token of nobody",
        ),
        pytest.param(
            {"os": {"name": "windows"}, "resources": {"requests": {"cpu": "1"}}},
            ["spec.resources: Forbidden: may not be set for a windows pod"],
            id="Windows knows no resources of a pod",
        ),
        pytest.param(
            {"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}},
            ["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"],
            id="empty options of Windows",
        ),
        pytest.param(
            {"securityContext": {"seccompProfile": {"localhostProfile": "a"}}},
            [
                "spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
                'spec.securityContext.seccompProfile.localhostProfile: Invalid value: {"Type":"",'
                '"LocalhostProfile":"a"}: can only be set when seccomp type is Localhost',
            ],
            id="a profile of no type",
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "operator": "Lt", "value": "1"}]},
            [
                'spec.tolerations[0].operator: Unsupported value: "Lt": supported values: "Equal", "Exists", "Lt", "Gt"'
            ],
            id="numbers are not compared",
        ),
        pytest.param(spread(topologyKey="bad key!"), [], id="a key that no node can have"),
        pytest.param(
            spread(matchLabelKeys=["a"], labelSelector={"matchLabels": {"a": "1"}, "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["1"]}]}),
            [
                'spec.topologySpreadConstraints[0][0]: Invalid value: "a": exists in both matchLabelKeys and '
                "labelSelector"
            ],
            id="a label selected twice",
        ),
    ],
)  # fmt: skip
def test_specs(fields: Object, wanted: list[str]) -> None:
    assert told(pod(**fields)) == wanted


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param(
            variable(fieldRef={"fieldPath": "spec.nodeName['a']"}),
            [
                'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nodeName[\'a\']": error '
                "converting fieldPath: field label does not support subscript: spec.nodeName['a']"
            ],
            id="a part of a text",
        ),
        pytest.param(
            variable(fileKeyRef={}),
            [f"{FILE}.{name}: Required value" for name in ("key", "volumeName", "path")]
            + [f'{FILE}.volumeName: Not found: ""'],
            id="a file of nothing",
        ),
        pytest.param(
            {**variable(fileKeyRef={"key": "K", "volumeName": "d", "path": "../a"}), **DISK},
            [
                f'{FILE}.path: Invalid value: "../a": must not contain \'..\'',
                f'{FILE}.volumeName: Invalid value: "d": referenced volume must be of type emptyDir',
            ],
            id="a file of a disk",
        ),
        pytest.param({"containers": [container(envFrom=[{"secretRef": {"name": "a-"}}])]}, [], id="a dash at the end"),
        pytest.param(
            {"containers": [container(restartPolicyRules=[{"action": "Restart"}])]},
            [
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules "
                "are used",
                f"{RULES}.exitCodes: Required value: must be specified",
            ],
            id="rules without a policy",
        ),
        pytest.param(
            {"containers": [container(restartPolicy="Never", restartPolicyRules=[
                {"action": "Stop", "exitCodes": {"operator": "Is", "values": [1]}}])]},
            [
                f'{RULES}.action: Unsupported value: "Stop": supported values: "Restart", "RestartAllContainers"',
                f'{RULES}.exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"',
            ],
            id="rules of odd words",
        ),
        pytest.param(
            {"containers": [container(restartPolicy="Maybe")]},
            [
                'spec.containers[0].restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", '
                '"OnFailure"'
            ],
            id="an odd policy",
        ),
        pytest.param(
            initial(restartPolicyRules=[{"action": "Stop"}]),
            [
                "spec.initContainers[0].restartPolicy: Required value: must specify restartPolicy when restart rules "
                "are used"
            ],
            id="rules of init containers",
        ),
        pytest.param(
            initial(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
            [
                'spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must not be '
                "set to 'RestartContainer' for non-sidecar initContainers"
            ],
            id="init containers are not restarted",
        ),
        pytest.param(
            initial(
                restartPolicy="Always", resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
            ),
            [],
            id="sidecars are",
        ),
    ],
)  # fmt: skip
def test_containers(fields: Object, wanted: list[str]) -> None:
    assert told(pod(**fields)) == wanted


def asks(requests: Object, limits: Object | None = None, **fields: Any) -> Object:
    return container(resources={"requests": requests, "limits": limits or {}}, **fields)


@pytest.mark.parametrize(
    ("fields", "resources", "wanted"),
    [
        pytest.param(
            {"containers": [asks({"cpu": "1"})], "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}},
            {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
            [],
            id="what containers ask for, then the limits",
        ),
        pytest.param(
            {
                "containers": [asks({"cpu": "1"})],
                "initContainers": [asks({"cpu": "1"}, name="s", restartPolicy="Always"), asks({"cpu": "3"}, name="i")],
                "resources": {"requests": {"memory": "1Gi"}},
            },
            {"requests": {"cpu": "4", "memory": "1Gi"}},
            [],
            id="the most at any time",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "2"})], "resources": {"requests": {"cpu": "1"}}},
            {"requests": {"cpu": "1"}},
            [
                'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate '
                "container requests of 2"
            ],
            id="less than the containers",
        ),
        pytest.param(
            {"containers": [asks({}, {"cpu": "2"})], "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}},
            {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
            [
                'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate '
                "container requests of 2",
                'spec.resources.containers[0][cpu].limits: Invalid value: "2": must be less than or equal to pod '
                "limits of 1",
            ],
            id="a container above the pod",
        ),
        pytest.param(
            {
                "containers": [asks({}, {"hugepages-2Mi": "4Mi", "cpu": "1"})],
                "resources": {"requests": {"cpu": "1"}},
            },
            {"requests": {"cpu": "1", "hugepages-2Mi": "4Mi"}, "limits": {"hugepages-2Mi": "4Mi"}},
            [],
            id="huge pages of containers",
        ),
        pytest.param(
            {"resources": {"requests": {"example.com/a": "1"}}},
            {"requests": {"example.com/a": "1"}},
            [
                'spec.resources.requests[example.com/a]: Unsupported value: "example.com/a": supported values: "cpu", '
                '"hugepages-", "memory"',
                "spec.resources.limits: Required value: Limit must be set for non overcommitable resources",
            ],
            id="not of a pod",
        ),
    ],
)
def test_resources_of_a_pod(fields: Object, resources: Object, wanted: list[str]) -> None:
    made = pod(**fields)
    assert made["spec"]["resources"] == resources
    assert told(made) == wanted


def test_static_pods_claim_nothing() -> None:
    claims = [{"name": "a", "resourceClaimName": "a"}, {}]
    made = pod({"kubernetes.io/config.mirror": "x"}, nodeName="n", resourceClaims=claims)
    assert told(made) == [f"{WHOLE}: Forbidden: static pods do not support resource claims"] * 2


def updated(old: Object, **status: Any) -> list[str]:
    new = thaw(old)
    new["status"] = {**old["status"], **status}
    return [f"{error.field}: {error.body()}" for error in KIND.validate_status(new, old)]


def state(name: str, **fields: Any) -> Object:
    return {"name": name, "state": fields}


ENDED = {"terminated": {"exitCode": 1}}
STUCK = "Forbidden: may not be transitioned to non-terminated state"


@pytest.mark.parametrize(
    ("fields", "field", "stuck"),
    [
        pytest.param({"restartPolicy": "Never"}, "containerStatuses", True, id="never"),
        pytest.param({"restartPolicy": "OnFailure"}, "containerStatuses", False, id="it failed"),
        pytest.param(
            {"restartPolicy": "Never", "containers": [container(restartPolicy="Always")]},
            "containerStatuses",
            False,
            id="a policy of its own",
        ),
        pytest.param(
            {"restartPolicy": "Always", "containers": [container(restartPolicy="Never")]},
            "containerStatuses",
            True,
            id="a stricter policy of its own",
        ),
        pytest.param(
            {"restartPolicy": "Never", "containers": [container(restartPolicy="Never", restartPolicyRules=[
                {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}])]},
            "containerStatuses",
            False,
            id="a rule",
        ),
        pytest.param(
            {"restartPolicy": "Never", "containers": [container(restartPolicy="Never", restartPolicyRules=[
                {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [1]}}])]},
            "containerStatuses",
            True,
            id="a rule for other exits",
        ),
        pytest.param(
            {"restartPolicy": "Never", **initial(name="c", restartPolicy="Always")},
            "initContainerStatuses",
            False,
            id="a sidecar",
        ),
        pytest.param({}, "ephemeralContainerStatuses", True, id="ephemeral containers end for good"),
    ],
)  # fmt: skip
def test_what_ended_stays_ended(fields: Object, field: str, stuck: bool) -> None:
    old = pod(**fields)
    old["status"][field] = [state("c", **ENDED)]
    wanted = [f"status.{field}[0].state: {STUCK}"] if stuck else []
    assert updated(old, **{field: [state("c", running={})]}) == wanted
    assert updated(old, **{field: [state("c", **ENDED)]}) == []
    assert updated(old, **{field: []}) == []


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param(
            {"observedGeneration": -1},
            ["status.observedGeneration: Invalid value: -1: must be a non-negative integer"],
            id="a generation below zero",
        ),
        pytest.param(
            {"nominatedNodeName": "m"},
            ["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"],
            id="a node too many",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "c", "user": {"linux": {"uid": -1, "supplementalGroups": [-2]}}}]},
            [
                "status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 2147483647, "
                "inclusive",
                "status.containerStatuses[0].user.linux.supplementalGroups[0]: Invalid value: -2: must be between 0 "
                "and 2147483647, inclusive",
            ],
            id="users that are none",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "c", "allocatedResourcesStatus": [
                {"name": "example.com/a", "resources": [{"resourceID": "1", "health": "Odd"}, {"resourceID": "1",
                 "health": "Healthy", "message": ""}]}, {"name": "claim:a/b"}]}]},
            [
                'status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: "example.com/a": must '
                "match one of the container's resource requests",
                'status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: '
                '"Odd": supported values: "Healthy", "Unhealthy", "Unknown"',
                "status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].message: Required value: must be "
                "non-empty if specified",
                'status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID: Duplicate value: "1"',
                'status.containerStatuses[0].allocatedResourcesStatus[1].name: Invalid value: "claim:a/b": must match '
                "one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                "'claim:<claimName>' if request is empty",
            ],
            id="health of what it has not",
        ),
        pytest.param(
            {"ephemeralContainerStatuses": [{"name": "e", "allocatedResourcesStatus": [{"name": "a"}]}]},
            [
                "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in "
                "container status"
            ],
            id="health of an ephemeral container",
        ),
    ],
)  # fmt: skip
def test_statuses(status: Object, wanted: list[str]) -> None:
    assert updated(pod(nodeName="n"), **status) == wanted


ASKING = {"resources": {"requests": {"example.com/a": "1"}, "limits": {"example.com/a": "1"}}}
MAPPING = {"containerName": "c", "resourceName": "example.com/a", "requestName": "r"}
PATH = "status.extendedResourceClaimStatus"


@pytest.mark.parametrize(
    ("reported", "wanted"),
    [
        pytest.param({"resourceClaimName": "x", "requestMappings": [MAPPING]}, [], id="as asked for"),
        pytest.param(
            {},
            [
                f"{PATH}.requestMappings: Required value: at least one request mapping is required",
                f"{PATH}.resourceClaimName: Required value",
            ],
            id="nothing",
        ),
        pytest.param(
            {
                "resourceClaimName": "x",
                "requestMappings": [
                    MAPPING, MAPPING, {**MAPPING, "containerName": "d"}, {**MAPPING, "resourceName": "example.com/b"}
                ],
            },
            [
                f'{PATH}.requestMappings[1].containerName: Duplicate value: "c"',
                f'{PATH}.requestMappings[1].resourceName: Duplicate value: "example.com/a"',
                f'{PATH}.requestMappings[1].requestName: Duplicate value: "r"',
                f'{PATH}.requestMappings[2].containerName: Invalid value: "d": must match the name of an entry in '
                "spec.initContainers.name or spec.containers.name",
                f'{PATH}.requestMappings[3].resourceName: Invalid value: "example.com/b": must match the extended '
                "resource name of an entry in spec.initContainers.resources.requests or "
                "spec.containers.resources.requests",
            ],
            id="astray",
        ),
    ],
)  # fmt: skip
def test_claims_for_extended_resources(reported: Object, wanted: list[str]) -> None:
    old = pod(containers=[container(**ASKING)])
    assert updated(old, extendedResourceClaimStatus=reported) == wanted


def test_statuses_behind_gates_that_are_off() -> None:
    mounts = [{"name": "v", "mountPath": "/v", "volumeStatus": {"image": {"imageRef": "i"}}}]
    gated = {
        "nodeAllocatableResourceClaimStatuses": [{"resourceClaimName": "x"}],
        "containerStatuses": [state("c", running={}) | {"volumeMounts": mounts}],
    }
    old, new = pod(), pod()
    new["status"].update(thaw(gated))
    KIND.prepare_status(new, old)
    assert "nodeAllocatableResourceClaimStatuses" not in new["status"]
    assert new["status"]["containerStatuses"][0]["volumeMounts"] == [{"name": "v", "mountPath": "/v"}]
    kept = pod()
    kept["status"].update(thaw(gated))
    KIND.prepare_status(kept, thaw(kept))
    assert kept["status"]["nodeAllocatableResourceClaimStatuses"]
    assert kept["status"]["containerStatuses"][0]["volumeMounts"] == mounts


def resized(old: Object, **fields: Any) -> list[str]:
    new = thaw(old)
    new["spec"].update(fields)
    return [f"{error.field}: {error.body()}" for error in KIND.extra["validate_resize"](new, old)]


ONLY = "Forbidden: only cpu and memory resources are mutable"
RESTARTED = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}


@pytest.mark.parametrize(
    ("fields", "change", "wanted"),
    [
        pytest.param({"containers": [asks({"cpu": "1"})]}, {"containers": [asks({"cpu": "2"})]}, [], id="more"),
        pytest.param(
            {"containers": [asks({"cpu": "1", "memory": "1Mi"})]},
            {"containers": [asks({"cpu": "1"})]},
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
            id="nothing goes",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})]},
            {"containers": [asks({"cpu": "1", "ephemeral-storage": "1"})]},
            [f"spec: {ONLY}"],
            id="storage stays",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})]},
            {"containers": [asks({"cpu": "1"}, name="d")]},
            ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
            id="names stay",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})]},
            {"containers": [asks({"cpu": "1"}), asks({"cpu": "1"}, name="d")]},
            ["spec.containers: Forbidden: containers may not be added or removed on resize"],
            id="no new ones",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})], **initial()},
            {"initContainers": [asks({"cpu": "1"}, name="i")]},
            [],
            id="init containers change",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})], "initContainers": [asks({"cpu": "1", "memory": "1Mi"}, name="i")]},
            {"initContainers": [asks({"cpu": "1", "example.com/a": "1"}, name="i")]},
            [
                "spec.initContainers[0].resources.limits: Required value: "
                "Limit must be set for non overcommitable resources",
                "spec.initContainers[0].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.initContainers[0]: Forbidden: "
                "only cpu and memory resources for init or sidecar containers are mutable",
            ],
            id="nothing else of init containers",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})], "initContainers": [asks({"cpu": "1"}, name="i", **RESTARTED)]},
            {"initContainers": [asks({"cpu": "2"}, name="i", **RESTARTED)]},
            [
                'spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must not be '
                "set to 'RestartContainer' for non-sidecar initContainers",
                "spec.initContainers[0]: Forbidden: "
                "non-sidecar init containers with a resize policy of RestartContainer cannot be resized",
            ],
            id="init containers do not start again",
        ),
        pytest.param(
            {
                "containers": [asks({"cpu": "1"})],
                "initContainers": [asks({"cpu": "1"}, name="s", restartPolicy="Always")],
            },
            {"initContainers": [asks({"cpu": "2"}, name="s", restartPolicy="Always")]},
            [],
            id="sidecars change",
        ),
        pytest.param({"containers": [asks({"cpu": "1"})]}, {"priority": 7}, [f"spec: {ONLY}"], id="nothing else"),
        pytest.param(
            {"containers": [asks({"cpu": "1"})], "resources": {"requests": {"cpu": "1"}}},
            {"resources": {"requests": {"cpu": "2"}}},
            [],
            id="the pod as a whole",
        ),
        pytest.param(
            {"containers": [asks({"cpu": "1"})], "resources": {"requests": {"cpu": "1", "memory": "1Mi"}}},
            {"resources": {"requests": {"cpu": "1"}}},
            ["spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"],
            id="nothing of the pod goes",
        ),
    ],
)
def test_resizes(fields: Object, change: Object, wanted: list[str]) -> None:
    change = thaw(change)
    for name in ("containers", "initContainers"):
        if name in change:
            change[name] = pod(**{"containers": [container()], name: change[name]})["spec"][name]
    assert resized(pod(**fields), **change) == wanted


def test_a_node_that_cannot_resize() -> None:
    old = pod(containers=[asks({"cpu": "1"})])
    old["status"]["containerStatuses"] = [state("c", running={})]
    assert resized(old) == ["spec: Forbidden: Pod running on node without support for resize"]
    old["status"]["containerStatuses"][0]["resources"] = {}
    assert resized(old) == []
