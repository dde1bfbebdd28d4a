"""Rules of single kinds of the core, events, node, policy and scheduling groups: path, type and text of each error."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.errors import aggregate_text
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.kinds.common.metadata import metadata_errors
from minikube_py.machinery.objects import Object, thaw

KINDS = {(kind.resource.group, kind.resource.kind): kind for kind in builtin_kinds()}
TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"beta.kubernetes.io/os": "linux"}},
}
OLD_LABEL = 'nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'


def kind_of(name: str, group: str = "") -> Kind:
    return KINDS[group, name]


def made(kind: Kind, **fields: Any) -> Object:
    draft: Object = {"metadata": {"name": "x", **fields.pop("metadata", {})}, **fields}
    kind.default(draft)
    return draft


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


NEW = {"reportingComponent": "a.b/c", "reportingInstance": "i", "action": "A", "reason": "R"}
ASTRAY = 'involvedObject.namespace: Invalid value: "": does not match event.namespace'


@pytest.mark.parametrize(
    ("namespace", "fields", "wanted"),
    [
        pytest.param("n", {"involvedObject": {"namespace": "n"}}, [], id="an old one"),
        pytest.param("default", {"involvedObject": {}}, [], id="an old one of the cluster"),
        pytest.param("kube-system", {"involvedObject": {}}, [ASTRAY], id="an old one elsewhere"),
        pytest.param("kube-system", {"involvedObject": {}, "eventTime": "t", **NEW}, [], id="a new one of the system"),
        pytest.param("n", {"involvedObject": {}, "eventTime": "t", **NEW}, [ASTRAY], id="a new one elsewhere"),
        pytest.param(
            "n",
            {"involvedObject": {"namespace": "n"}, "eventTime": "t", "reportingComponent": "c"},
            ["reportingInstance: Required value", "action: Required value", "reason: Required value"],
            id="a new one that says little",
        ),
        pytest.param(
            "n",
            {"involvedObject": {"namespace": "n"}, "eventTime": "t", **NEW, "message": "m" * 1025, "action": "a" * 129},
            [
                'action: Invalid value: "": can have at most 128 characters',
                'message: Invalid value: "": can have at most 1024 characters',
            ],
            id="a new one that says much",
        ),
    ],
)
def test_core_events(namespace: str, fields: Object, wanted: list[str]) -> None:
    kind = kind_of("Event")
    event = {"metadata": {"name": "e", "namespace": namespace}, **fields}
    assert told(kind.validate(event)) == wanted


def new_event(**fields: Any) -> Object:
    return {
        "metadata": {"name": "e", "namespace": "n"},
        "eventTime": "t",
        "type": "Normal",
        "regarding": {"namespace": "n"},
        "reportingController": "c",
        "reportingInstance": "i",
        "action": "A",
        "reason": "R",
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({}, [], id="valid"),
        pytest.param(
            {"eventTime": None, "reportingController": ""},
            ["eventTime: Required value"],
            id="without a time, as old ones",
        ),
        pytest.param(
            {"deprecatedCount": 1, "deprecatedSource": {"host": "h"}, "deprecatedFirstTimestamp": "t"},
            [f'{name}: Invalid value: "": needs to be unset' for name in ("firstTimestamp", "count", "source")],
            id="old fields",
        ),
    ],
)
def test_new_events(fields: Object, wanted: list[str]) -> None:
    assert told(kind_of("Event", "events.k8s.io").validate(new_event(**fields))) == wanted


def test_updates_of_events_look_at_a_new_series_alone() -> None:
    kind = kind_of("Event", "events.k8s.io")
    odd = {"count": 1}
    assert told(kind.validate_update(new_event(series=odd), new_event(series=odd))) == []
    assert told(kind.validate_update(new_event(series=odd), new_event())) == [
        'series.count: Invalid value: "": should be at least 2',
        "series.lastObservedTime: Required value",
    ]
    assert told(kind.validate_update(new_event(type="Odd"), new_event())) == [
        'type: Invalid value: "Odd": field is immutable'
    ]


def volume(**spec: Any) -> Object:
    source = {} if "local" in spec else {"hostPath": {"path": "/a"}}
    return made(
        kind_of("PersistentVolume"),
        spec={"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, **source, **spec},
    )


def bound_to(key: str, value: str = "a") -> Object:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    return {"required": {"nodeSelectorTerms": [term]}}


AFFINITY = "field is immutable, except for updating from beta label to GA"
BETA, STABLE = "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("new", "old", "allowed"),
    [
        pytest.param(bound_to(STABLE), None, True, id="set once"),
        pytest.param(bound_to(STABLE), bound_to(BETA), True, id="the stable name"),
        pytest.param(bound_to(BETA), bound_to(STABLE), False, id="the beta name"),
        pytest.param(bound_to(STABLE, "b"), bound_to(BETA), False, id="another value"),
        pytest.param(None, bound_to(BETA), False, id="gone"),
    ],
)
def test_the_affinity_of_a_volume(new: Object | None, old: Object | None, allowed: bool) -> None:
    after, before = (volume(**({"nodeAffinity": found} if found else {})) for found in (new, old))
    errors = told(kind_of("PersistentVolume").validate_update(after, before))
    assert [error.startswith("nodeAffinity: Invalid value: ") for error in errors] == ([] if allowed else [True])
    assert all(error.endswith(AFFINITY) for error in errors)


def test_mount_options_of_old_are_for_plugins_that_mount() -> None:
    kind = kind_of("PersistentVolume")
    noted = {"metadata": {"annotations": {"volume.beta.kubernetes.io/mount-options": "ro"}}}
    assert told(kind.validate(volume() | noted)) == [
        "metadata.annotations.volume.beta.kubernetes.io/mount-options: Forbidden: "
        "may not specify mount options for this volume type"
    ]
    shared = volume() | noted
    shared["spec"]["nfs"] = {"server": "s", "path": "/"}
    del shared["spec"]["hostPath"]
    assert told(kind.validate(shared)) == []


def test_local_volumes_are_bound_to_nodes() -> None:
    kind = kind_of("PersistentVolume")
    wanted = ["spec.nodeAffinity: Required value: Local volume requires node affinity"]
    assert told(kind.validate(volume(local={"path": "/a"}))) == wanted
    assert told(kind.validate(volume(local={"path": "/a"}, nodeAffinity={}))) == [
        "spec.nodeAffinity.required: Required value: must specify required node constraints"
    ]


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        pytest.param({"phase": "Bound"}, {"phase": "Pending"}, "now", id="a change"),
        pytest.param({"phase": "Bound", "lastPhaseTransitionTime": "a"}, {"phase": "Pending",
                     "lastPhaseTransitionTime": "a"}, "now", id="a change with the old time"),
        pytest.param({"phase": "Bound", "lastPhaseTransitionTime": "b"}, {"phase": "Pending",
                     "lastPhaseTransitionTime": "a"}, "b", id="a change with a time"),
        pytest.param({"phase": "Bound"}, {"phase": "Bound", "lastPhaseTransitionTime": "a"}, None, id="no change"),
    ],
)  # fmt: skip
def test_the_time_of_a_phase(new: Object, old: Object, wanted: str | None) -> None:
    draft = {"status": thaw(new)}
    kind_of("PersistentVolume").extra["stamp_status"](draft, {"status": old}, "now")
    assert draft["status"].get("lastPhaseTransitionTime") == wanted


def test_nodes_are_judged_as_new_ones_too() -> None:
    kind = kind_of("Node")
    old = made(kind, spec={})
    new = made(kind, spec={"taints": [{"key": "a"}], "configSource": {}})
    kind.prepare_update(new, old)
    assert "configSource" not in new["spec"]
    assert told(kind.validate_update(new, old)) == ["metadata.taints[0].effect: Required value"] * 2
    addresses = [{"type": "InternalIP", "address": "10.0.0.1"}] * 2
    assert told(kind.validate_status(made(kind, spec={}, status={"addresses": addresses}), old)) == [
        'status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"10.0.0.1"}'
    ]


def test_finalizers_of_namespaces() -> None:
    validate = kind_of("Namespace").extra["validate_finalize"]
    assert told(validate({"spec": {"finalizers": ["kubernetes", "a.b/c"]}}, {})) == []
    assert told(validate({"spec": {"finalizers": ["a"]}}, {})) == [
        'spec.finalizers[0]: Invalid value: "a": name is neither a standard finalizer name nor is it fully qualified'
    ]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}, [], id="valid"),
        pytest.param(
            {"replicas": -1},
            [
                "status.replicas: Invalid value: -1: must be greater than or equal to 0",
                *(
                    f"status.{name}: Invalid value: 0: cannot be greater than status.replicas"
                    for name in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
                ),
            ],
            id="below zero",
        ),
        pytest.param(
            {"replicas": 2, "availableReplicas": 1},
            ["status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas"],
            id="available before ready",
        ),
    ],
)
def test_statuses_of_replication_controllers(status: Object, wanted: list[str]) -> None:
    assert told(kind_of("ReplicationController").validate_status({"status": status}, {})) == wanted


def test_templates_warn() -> None:
    template = made(kind_of("PodTemplate"), template=thaw(TEMPLATE))
    assert kind_of("PodTemplate").warnings(template, None) == [f"template.spec.{OLD_LABEL}"]
    controller = made(kind_of("ReplicationController"), spec={"template": thaw(TEMPLATE)})
    controller["metadata"]["generation"] = 2
    warnings = kind_of("ReplicationController").warnings
    assert warnings(controller, None) == warnings(controller, {"metadata": {"generation": 1}})
    assert warnings(controller, None) == [f"spec.template.spec.{OLD_LABEL}"]
    assert warnings(controller, {"metadata": {"generation": 2}}) == []


def test_templates_lose_what_is_switched_off() -> None:
    for kind, holder in ((kind_of("PodTemplate"), ()), (kind_of("ReplicationController"), ("spec",))):
        template = thaw(TEMPLATE)
        template["spec"]["schedulingGroup"] = {"podGroupName": "g"}
        draft = made(kind, **({"spec": {"template": template}} if holder else {"template": template}))
        kind.prepare_create(draft)
        found = draft[holder[0]] if holder else draft
        assert "schedulingGroup" not in found["template"]["spec"]


def test_conditions_of_disruption_budgets() -> None:
    validate = kind_of("PodDisruptionBudget", "policy").validate_status
    good = {"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "t"}
    assert told(validate({"status": {"conditions": [good]}}, {})) == []
    bad = {"type": "A", "status": "Yes", "reason": "1", "observedGeneration": -1}
    errors = told(validate({"status": {"conditions": [good, bad]}}, {}))
    assert [text[: text.find(":", 25)] for text in errors] == [
        f"status.conditions[1].{name}"
        for name in ("type", "status", "observedGeneration", "lastTransitionTime", "reason")
    ]
    assert "'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB'" in errors[-1]


RESERVED = (
    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: "
)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({"metadata": {"name": "system-node-critical"}, "value": 2000001000}, [], id="the system's"),
        pytest.param(
            {"metadata": {"name": "system-mine"}, "value": 1},
            [f"{RESERVED}system-mine is not a known system priority class"],
            id="unknown",
        ),
        pytest.param(
            {"metadata": {"name": "system-node-critical"}, "value": 1},
            [f"{RESERVED}value of system-node-critical PriorityClass must be 2000001000"],
            id="another value",
        ),
        pytest.param(
            {"metadata": {"name": "system-cluster-critical"}, "value": 2000000000, "globalDefault": True},
            [f"{RESERVED}globalDefault of system-cluster-critical PriorityClass must be false"],
            id="by default",
        ),
        pytest.param({"value": 1, "preemptionPolicy": ""}, ["preemptionPolicy: Required value"], id="no policy"),
    ],
)
def test_priority_classes(fields: Object, wanted: list[str]) -> None:
    draft = {"metadata": {"name": "x"}, **fields}
    assert told(kind_of("PriorityClass", "scheduling.k8s.io").validate(draft)) == wanted


def test_overheads_are_limits() -> None:
    kind = kind_of("RuntimeClass", "node.k8s.io")
    assert told(kind.validate({"handler": "h", "overhead": {"podFixed": {"hugepages-2Mi": "3Mi"}}})) == [
        'overhead.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
        "overhead: Forbidden: HugePages require cpu or memory",
    ]


def test_the_annotation_of_mountable_secrets_warns_once() -> None:
    key = "kubernetes.io/enforce-mountable-secrets"
    account = {"metadata": {"annotations": {key: "false"}}}
    warnings = kind_of("ServiceAccount").warnings
    assert len(warnings(account, None)) == len(warnings(account, {"metadata": {}})) == 1
    assert warnings(account, {"metadata": {"annotations": {key: "true"}}}) == []


def test_odd_addresses_of_endpoints_warn() -> None:
    endpoints: Object = {"metadata": {}, "subsets": [{"notReadyAddresses": [{"ip": "10.0.0.01"}]}]}
    warnings = kind_of("Endpoints").warnings
    assert [text.partition(":")[0] for text in warnings(endpoints, None)[1:]] == ["subsets[0].notReadyAddresses[0].ip"]
    endpoints["metadata"]["labels"] = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert len(warnings(endpoints, None)) == 1


def test_bindings_are_refused_in_one_line() -> None:
    errors = kind_of("Binding").validate({"target": {"kind": "Pod"}})
    assert aggregate_text(errors) == (
        '[target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>", target.name: Required value]'
    )


def test_limits_below_zero_are_not_looked_at() -> None:
    kind = kind_of("LimitRange")
    item = {"type": "PersistentVolumeClaim", "min": {"storage": "1"}, "default": {"example.com/a": "-1"}}
    assert told(kind.validate(made(kind, spec={"limits": [item]}))) == []


def test_large_config_maps() -> None:
    assert told(kind_of("ConfigMap").validate({"data": {"a": "x" * (1024 * 1024 + 1)}})) == [
        "[]: Too long: may not be more than 1048576 bytes"
    ]


CAMEL = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param({"declaredFeatures": ["A", "B/c"], "nodeInfo": {"swap": {"capacity": 1}}}, [], id="well formed"),
        pytest.param({"nodeInfo": {"swap": {}}}, [], id="no swap told"),
        pytest.param(
            {"nodeInfo": {"swap": {"capacity": 0}}},
            ["metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero"],
            id="no swap",
        ),
        pytest.param(
            {"declaredFeatures": ["a", "B", "B", "X" * 254]},
            [
                f'status.declaredFeatures[0]: Invalid value: "a": invalid feature name "a": {CAMEL}',
                'status.declaredFeatures[1]: Invalid value: "B": list must be sorted alphabetically',
                'status.declaredFeatures[2]: Duplicate value: "B"',
                f'status.declaredFeatures[3]: Invalid value: "{"X" * 254}": invalid feature name "{"X" * 254}": '
                "must be no more than 253 characters",
            ],
            id="odd names",
        ),
    ],
)
def test_what_a_node_tells_of_itself(status: Object, wanted: list[str]) -> None:
    assert told(kind_of("Node").validate(made(kind_of("Node"), status=status))) == wanted


def test_the_generation_of_a_priority_class_counts_nothing() -> None:
    kind = kind_of("PriorityClass", "scheduling.k8s.io")
    draft = made(kind, value=1)
    kind.prepare_create(draft)
    changed = {**draft, "description": "d", "metadata": dict(draft["metadata"])}
    kind.prepare_update(changed, draft)
    assert (changed["metadata"]["generation"], kind.generation) == (1, False)


def test_accounts_name_their_secrets_and_say_no_more_of_them() -> None:
    kind = kind_of("ServiceAccount")
    draft = made(kind, secrets=[{"name": "s", "namespace": "n", "uid": "u"}, {"kind": "Secret"}])
    updated = {**draft, "secrets": [*draft["secrets"]]}
    kind.prepare_create(draft)
    kind.prepare_update(updated, draft)
    assert draft["secrets"] == updated["secrets"] == [{"name": "s"}, {}]


def test_the_addresses_of_a_load_balancer_are_shown_once_each_in_their_order() -> None:
    kind = kind_of("Service")
    status = {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "h"}, {"ip": "1.1.1.1"}, {"ip": "9.9.9.9"}]}}
    draft = made(kind, spec={"type": "LoadBalancer", "externalIPs": ["5.5.5.5"]}, status=status)
    assert list(kind.row(draft, 0))[3] == "1.1.1.1,9.9.9.9,h,5.5.5.5"


@pytest.mark.parametrize(
    ("group", "name", "wanted"),
    [
        pytest.param("", "Event", [], id="of the core"),
        pytest.param("events.k8s.io", "Event", ["metadata.finalizers[0]", "metadata.name"], id="an event"),
        pytest.param("policy", "PodDisruptionBudget", [], id="a budget"),
        pytest.param("node.k8s.io", "RuntimeClass", ["metadata.name"], id="a class"),
    ],
)
def test_metadata_that_the_core_does_not_judge(group: str, name: str, wanted: list[str]) -> None:
    kind = kind_of(name, group)
    meta = {"name": "Bad_Name!", "finalizers": ["short"], **({"namespace": "n"} if kind.resource.namespaced else {})}
    assert sorted(error.field for error in metadata_errors(kind, {"metadata": meta})) == wanted
