"""Rules for pods: volumes, containers, Windows, resources, gates and statuses, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kinds.common.podspec.annotations import pod_annotation_errors
from minikube_py.machinery.kinds.common.podspec.spec import pod_spec_errors
from minikube_py.machinery.kinds.core.pod import KIND
from minikube_py.machinery.kinds.core.pod_changes import annotation_update_errors, gated_errors
from minikube_py.machinery.kinds.core.pod_status import condition_errors, host_address_errors, pod_address_errors
from minikube_py.machinery.objects import Object


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def container(**fields: Any) -> Object:
    return {"name": "c", "image": "i", **fields}


def spec(**fields: Any) -> Object:
    """A pod's spec with the API server's defaults."""
    made: Object = {"metadata": {"name": "p"}, "spec": {"containers": [container()], **fields}}
    assert KIND.default is not None
    KIND.default(made)
    filled: Object = made["spec"]
    return filled


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "v", **source}]}


def mounted(**mount: Any) -> Object:
    return {"containers": [container(volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])]}


WINDOWS = {"os": {"name": "windows"}}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({}, [], id="valid"),
        pytest.param({"volumes": [{"name": "v"}]}, [], id="a volume without a source is an empty directory"),
        pytest.param(
            volume(emptyDir={}, hostPath={"path": "/a"}),
            ["volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
            id="two sources",
        ),
        pytest.param(
            volume(nfs={"path": "a"}),
            [
                "volumes[0].nfs.server: Required value",
                'volumes[0].nfs.path: Invalid value: "a": must be an absolute path',
            ],
            id="nfs",
        ),
        pytest.param(
            volume(hostPath={"path": "/a/../b"}),
            ["volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
            id="a way out",
        ),
        pytest.param(
            {**volume(emptyDir={}), **mounted(subPath="../a")},
            ["containers[0].volumeMounts.subPath: Invalid value: \"../a\": must not contain '..'"],
            id="a part of a volume outside it",
        ),
        pytest.param(
            {**volume(emptyDir={}), **mounted(name="w")},
            ['containers[0].volumeMounts[0].name: Not found: "w"'],
            id="a mount of nothing",
        ),
        pytest.param(
            {"containers": [container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})]},
            ['containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
            id="more than the limit",
        ),
        pytest.param(
            {**WINDOWS, "hostPID": True},
            ["hostPID: Forbidden: cannot be set for a windows pod"],
            id="windows shares no processes",
        ),
        pytest.param(
            {**WINDOWS, "containers": [container(securityContext={"runAsUser": 1})]},
            ["containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod"],
            id="windows has no numbers for users",
        ),
        pytest.param(
            {"os": {"name": "plan9"}},
            ['os: Unsupported value: "plan9": supported values: "linux", "windows"'],
            id="other systems",
        ),
        pytest.param(
            {"initContainers": [container(name="i", lifecycle={"preStop": {"exec": {"command": ["a"]}}})]},
            ["initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always"],
            id="hooks of init containers",
        ),
        pytest.param(
            {"containers": [container(), container()]}, ['containers[1].name: Duplicate value: "c"'], id="a name twice"
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            ["tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"],
            id="a value that is not compared",
        ),
        pytest.param(
            {"hostUsers": False, "hostNetwork": True},
            ["hostNetwork: Forbidden: when `hostUsers` is false"],
            id="users of its own",
        ),
    ],
)
def test_specs(fields: Object, wanted: list[str]) -> None:
    assert told(pod_spec_errors("spec", spec(**fields), "p", is_pod=True)) == [f"spec.{text}" for text in wanted]


def annotated(**annotations: str) -> Object:
    return {"metadata": {"annotations": annotations}}


MIRROR = "kubernetes.io/config.mirror"


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        pytest.param({MIRROR: "a"}, {MIRROR: "a"}, [], id="stays"),
        pytest.param(
            {MIRROR: "b"}, {MIRROR: "a"}, ["metadata.annotations[kubernetes.io/config.mirror]: Forbidden"], id="changes"
        ),
        pytest.param({}, {MIRROR: "a"}, ["metadata.annotations[kubernetes.io/config.mirror]: Forbidden"], id="goes"),
        pytest.param({"a": "b"}, {}, [], id="others"),
    ],
)
def test_some_annotations_are_for_good(new: Object, old: Object, wanted: list[str]) -> None:
    errors = annotation_update_errors({**annotated(**new), "spec": {"nodeName": "n"}}, annotated(**old))
    assert [text[: len(known)] for text, known in zip(told(errors), wanted, strict=True)] == wanted


def test_mirror_pods_have_a_node() -> None:
    assert [error.field for error in pod_annotation_errors("metadata.annotations", {MIRROR: "a"}, {})] == [
        f"metadata.annotations[{MIRROR}]"
    ]
    assert pod_annotation_errors("metadata.annotations", {MIRROR: "a"}, {"nodeName": "n"}) == []


@pytest.mark.parametrize(
    ("new", "old", "count"),
    [
        pytest.param({}, {}, 0, id="nothing"),
        pytest.param({"nodeSelector": {"a": "1", "b": "2"}}, {"nodeSelector": {"a": "1"}}, 0, id="narrower"),
        pytest.param({"nodeSelector": {"b": "2"}}, {"nodeSelector": {"a": "1"}}, 1, id="elsewhere"),
        pytest.param({"nodeSelector": {"a": "2"}}, {"nodeSelector": {"a": "1"}}, 1, id="another value"),
    ],
)
def test_gated_pods_only_narrow_their_nodes(new: Object, old: Object, count: int) -> None:
    assert len(gated_errors(new, old)) == count


def test_statuses() -> None:
    assert [error.field for error in condition_errors([{"type": "Ready"}, {"type": "Other one"}])] == [
        "metadata.conditions[1].Type"
    ]
    two = {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "hostIPs": [{"ip": "10.0.0.1"}]}
    assert [error.field for error in pod_address_errors(two)] == ["status.podIPs"]
    assert host_address_errors({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}]}) == []
    assert [error.field for error in host_address_errors({**two, "hostIP": "10.0.0.3"})] == ["status.hostIPs[0].ip"]
