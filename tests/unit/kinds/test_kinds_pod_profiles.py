"""AppArmor and seccomp profiles of pods in annotations and fields, and fields behind gates that are off."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apps import daemon_set, deployment, replica_set, stateful_set
from minikube_py.machinery.kinds.batch import cron_job, job
from minikube_py.machinery.kinds.common.pod_gates import drop_gated_fields
from minikube_py.machinery.kinds.core.pod import KIND
from minikube_py.machinery.objects import Object, thaw

APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/c"
SECCOMP = "container.seccomp.security.alpha.kubernetes.io/c"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
DEPRECATED = f'metadata.annotations[{APP_ARMOR}]: deprecated since v1.30; use the "appArmorProfile" field instead'
DEFAULT = {"type": "RuntimeDefault"}


def pod(annotations: Object, whole: Object | None = None, own: Object | None = None) -> Object:
    made: Object = {
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {
            "containers": [{"name": "c", "image": "i", **({"securityContext": own} if own else {})}],
            "securityContext": whole or {},
        },
    }
    KIND.default(made)
    return made


@pytest.mark.parametrize(
    ("made", "profile", "warnings"),
    [
        pytest.param(pod({APP_ARMOR: "runtime/default"}), DEFAULT, [DEPRECATED], id="a default"),
        pytest.param(pod({APP_ARMOR: "unconfined"}), {"type": "Unconfined"}, [DEPRECATED], id="none"),
        pytest.param(
            pod({APP_ARMOR: "localhost/a/b"}),
            {"type": "Localhost", "localhostProfile": "a/b"},
            [DEPRECATED],
            id="local",
        ),
        pytest.param(pod({APP_ARMOR: "localhost/ a"}), None, [DEPRECATED], id="a local one that is none"),
        pytest.param(pod({APP_ARMOR: "odd"}), None, [DEPRECATED], id="unknown"),
        pytest.param(pod({APP_ARMOR: "runtime/default"}, {"appArmorProfile": DEFAULT}), None, [], id="as the pod's"),
        pytest.param(
            pod({APP_ARMOR: "unconfined"}, {"appArmorProfile": DEFAULT}),
            {"type": "Unconfined"},
            [DEPRECATED],
            id="other than the pod's",
        ),
        pytest.param(
            pod({APP_ARMOR: "runtime/default"}, own={"appArmorProfile": DEFAULT}), DEFAULT, [], id="with a field"
        ),
        pytest.param(pod({}, own={"appArmorProfile": DEFAULT}), DEFAULT, [], id="a field alone"),
        pytest.param(pod({"a": "b"}), None, [], id="no profile"),
    ],
)
def test_app_armor_annotations_become_fields(made: Object, profile: Object | None, warnings: list[str]) -> None:
    draft = thaw(made)
    assert KIND.early_warnings(draft) == warnings
    KIND.prepare_create(draft)
    container = draft["spec"]["containers"][0]
    assert (container.get("securityContext") or {}).get("appArmorProfile") == profile
    assert draft["metadata"].get("annotations") == (made["metadata"].get("annotations") or None)


def test_windows_pods_have_no_app_armor() -> None:
    made = pod({APP_ARMOR: "runtime/default"})
    made["spec"]["os"] = {"name": "windows"}
    assert KIND.early_warnings(made) == []
    KIND.prepare_create(made)
    assert "securityContext" not in made["spec"]["containers"][0]


TYPE = "Forbidden: seccomp type in annotation and field must match"


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(pod({SECCOMP_POD: "docker/default"}, {"seccompProfile": DEFAULT}), [], id="the same"),
        pytest.param(
            pod({SECCOMP_POD: "unconfined"}, {"seccompProfile": DEFAULT}),
            [f"spec.securityContext.seccompProfile.type: {TYPE}"],
            id="another for the pod",
        ),
        pytest.param(
            pod({SECCOMP: "runtime/default"}, own={"seccompProfile": {"type": "Unconfined"}}),
            [f"spec.containers[0].securityContext.seccompProfile.type: {TYPE}"],
            id="another for the container",
        ),
        pytest.param(
            pod({SECCOMP: "localhost/a"}, own={"seccompProfile": {"type": "Localhost", "localhostProfile": "b"}}),
            [
                "spec.containers[0].securityContext.seccompProfile.localhostProfile: Forbidden: "
                "seccomp profile in annotation and field must match"
            ],
            id="another file",
        ),
        pytest.param(pod({SECCOMP: "runtime/default"}, {"seccompProfile": {"type": "Unconfined"}}), [], id="no field"),
        pytest.param(
            pod({APP_ARMOR: "unconfined"}, own={"appArmorProfile": DEFAULT}),
            [
                "spec.containers[0].securityContext.appArmorProfile.type: Forbidden: "
                "apparmor type in annotation and field must match"
            ],
            id="another AppArmor profile",
        ),
        pytest.param(pod({APP_ARMOR: "unconfined"}, {"appArmorProfile": DEFAULT}), [], id="a container of its own"),
    ],
)
def test_annotations_and_fields_match(made: Object, wanted: list[str]) -> None:
    draft = thaw(made)
    KIND.prepare_create(draft)
    assert [f"{error.field}: {error.body()}" for error in KIND.validate(draft)] == wanted


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "v", "projected": {"sources": [source]}}]}


def signalled(**lifecycle: Any) -> Object:
    return {"containers": [{"name": "c", "lifecycle": {"stopSignal": "SIGUSR1", **lifecycle}}]}


HOOK = {"preStop": {"exec": {"command": ["a"]}}}
BUNDLE = {"clusterTrustBundle": {"name": "b", "path": "p"}}


@pytest.mark.parametrize(
    ("spec", "before", "wanted"),
    [
        pytest.param({"schedulingGroup": {"podGroupName": "g"}}, {}, {}, id="a group"),
        pytest.param(volume(**BUNDLE), {}, volume(), id="a bundle"),
        pytest.param(volume(**BUNDLE), volume(**BUNDLE), volume(**BUNDLE), id="a bundle that is in use"),
        pytest.param(volume(podCertificate={}), volume(**BUNDLE), volume(), id="a certificate"),
        pytest.param(signalled(), {}, {"containers": [{"name": "c"}]}, id="a signal"),
        pytest.param(
            signalled(**HOOK), {}, {"containers": [{"name": "c", "lifecycle": HOOK}]}, id="a signal beside a hook"
        ),
        pytest.param(signalled(), signalled(), signalled(), id="a signal that is in use"),
    ],
)
def test_fields_behind_gates_go(spec: Object, before: Object, wanted: Object) -> None:
    draft = thaw(spec)
    drop_gated_fields(draft, before)
    assert draft == wanted


@pytest.mark.parametrize(
    "kind",
    [deployment.KIND, replica_set.KIND, daemon_set.KIND, stateful_set.KIND, job.KIND, cron_job.KIND],
    ids=lambda kind: kind.definition.rpartition(".")[2],
)
def test_workloads_lose_them_from_their_templates(kind: Kind) -> None:
    def workload(spec: Object) -> Object:
        inner = {"template": {"spec": thaw(spec)}}
        return {"metadata": {"name": "w"}, "spec": {"jobTemplate": {"spec": inner}} if kind is cron_job.KIND else inner}

    def lifecycle(made: Object) -> Any:
        inner = made["spec"].get("jobTemplate", {"spec": made["spec"]})["spec"]
        return inner["template"]["spec"]["containers"][0].get("lifecycle")

    assert kind.prepare_create is not None and kind.prepare_update is not None
    new, changed, kept = workload(signalled()), workload(signalled()), workload(signalled())
    kind.prepare_create(new)
    kind.prepare_update(changed, workload({"containers": [{"name": "c"}]}))
    kind.prepare_update(kept, workload(signalled()))
    assert lifecycle(new) is None and lifecycle(changed) is None
    assert lifecycle(kept) == {"stopSignal": "SIGUSR1"}
