"""Shared pieces of the kinds: durations, schedules, wire form, metadata, conversions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds import builtin_kinds
from minikube_py.machinery.kinds.batch.schedule import schedule_error
from minikube_py.machinery.kinds.common.checks import parse_cidr, parse_ip
from minikube_py.machinery.kinds.common.go_values import go_object, json_name
from minikube_py.machinery.kinds.common.metadata import UpdateChecks, metadata_errors, metadata_update_errors
from minikube_py.machinery.kinds.common.printing import human_duration, selector_text
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.kinds.core.config_map import KIND as CONFIG_MAP
from minikube_py.machinery.kinds.core.service_strategy import prepare_update
from minikube_py.machinery.kinds.events.event import from_core, to_core
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import Schema, definitions


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"),
        (600, "10m"), (10799, "179m"), (10800, "3h"), (11400, "3h10m"), (28800, "8h"), (172799, "47h"),
        (172800, "2d"), (180000, "2d2h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"),
    ],
)  # fmt: skip
def test_human_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        pytest.param("*/5 * * * *", None, id="every five minutes"),
        pytest.param("0 0 1,15 JAN-MAR mon", None, id="names"),
        pytest.param("@hourly", None, id="descriptor"),
        pytest.param("@every 1h30m", None, id="interval"),
        pytest.param("@often", "unrecognized descriptor: @often", id="unknown descriptor"),
        pytest.param("60 * * * *", "end of range (60) above maximum (59): 60", id="minute too high"),
        pytest.param("* * 0 * *", "beginning of range (0) below minimum (1): 0", id="day too low"),
        pytest.param("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1", id="backwards"),
        pytest.param("*/0 * * * *", "step of range should be a positive number: */0", id="no step"),
        pytest.param("1-2-3 * * * *", "too many hyphens: 1-2-3", id="hyphens"),
        pytest.param(
            "x * * * *",
            'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax',
            id="no number",
        ),
    ],
)
def test_schedules(schedule: str, problem: str | None) -> None:
    assert schedule_error(schedule) == problem


WIRE = [
    pytest.param(
        {"containers": [{"name": "c", "stdin": False, "env": [], "resources": {"limits": {"cpu": "1000m"}}}]},
        {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
        id="zero values go, quantities are canonical",
    ),
    pytest.param(
        {"containers": [], "hostUsers": False, "hostPID": False, "terminationGracePeriodSeconds": 0},
        {"containers": None, "hostUsers": False, "terminationGracePeriodSeconds": 0},
        id="pointers keep their zero, required lists become null",
    ),
    pytest.param(
        {"containers": [{}], "nodeSelector": None, "volumes": []},
        {"containers": [{"name": "", "resources": {}}]},
        id="required fields are there",
    ),
]


@pytest.mark.parametrize(("spec", "wanted"), WIRE)
def test_wire_form(spec: Object, wanted: Object) -> None:
    draft = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {}}, "spec": thaw(spec)}
    to_wire_form("io.k8s.api.core.v1.Pod", draft)
    assert draft == {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": wanted, "status": {},
    }  # fmt: skip


@pytest.mark.parametrize("kind", builtin_kinds(), ids=lambda kind: kind.resource.qualified + kind.resource.version)
def test_defaulting_and_conversion_are_stable(kind: Kind) -> None:
    """Defaulting a defaulted object changes nothing, and conversions lead back."""
    draft: Object = {"apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": {"name": "x"}}
    kind.default(draft)
    once = thaw(draft)
    kind.default(draft)
    assert draft == once
    if kind.to_storage is not None and kind.from_storage is not None:
        back = kind.from_storage(kind.to_storage(thaw(once)))
        kind.default(back)
        assert back["spec" if "spec" in once else "metadata"] == once["spec" if "spec" in once else "metadata"]


METADATA = [
    pytest.param({"name": "a", "namespace": "n"}, [], id="valid"),
    pytest.param({"namespace": "n"}, ["metadata.name"], id="no name"),
    pytest.param({"name": "a"}, ["metadata.namespace"], id="no namespace"),
    pytest.param({"name": "a", "namespace": "N"}, ["metadata.namespace"], id="bad namespace"),
    pytest.param(
        {"name": "a", "namespace": "n", "annotations": {"a/b/c": ""}}, ["metadata.annotations"], id="bad annotation"
    ),
    pytest.param(
        {"name": "a", "namespace": "n", "annotations": {"a": "x" * 262145}},
        ["metadata.annotations"],
        id="annotations too large",
    ),
    pytest.param(
        {"name": "a", "namespace": "n", "finalizers": ["x"]},
        ["metadata.finalizers[0]"],
        id="finalizer without a domain",
    ),
    pytest.param(
        {"name": "a", "namespace": "n", "finalizers": ["orphan", "foregroundDeletion"]},
        ["metadata.finalizers"],
        id="both ways of deleting",
    ),
]


@pytest.mark.parametrize(("meta", "fields"), METADATA)
def test_metadata(meta: Object, fields: list[str]) -> None:
    assert [error.field for error in metadata_errors(CONFIG_MAP, {"metadata": meta})] == fields


def test_two_controllers_are_refused() -> None:
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in ("a", "b")]
    meta = {"name": "a", "namespace": "n", "ownerReferences": owners}
    (error,) = metadata_errors(CONFIG_MAP, {"metadata": meta})
    assert error.detail.endswith('Found "true" in references for Pod/a and Pod/b')


def test_metadata_of_an_update_is_checked_twice() -> None:
    old = {"metadata": {"name": "a", "namespace": "n", "uid": "1", "resourceVersion": "1"}}
    new = {"metadata": {**old["metadata"], "uid": "2"}}
    errors = metadata_update_errors(CONFIG_MAP, new, old)
    assert [(error.field, error.detail) for error in errors] == [("metadata.uid", "field is immutable")] * 2


@pytest.mark.parametrize(
    ("checks", "wanted"),
    [
        (UpdateChecks(), {"metadata.uid": 2, "metadata.labels": 2, "metadata.finalizers[0]": 1}),
        (UpdateChecks(changes=0), {"metadata.uid": 1, "metadata.labels": 1}),
        (
            UpdateChecks(changes=1, whole=2),
            {"metadata.uid": 2, "metadata.labels": 4, "metadata.finalizers[0]": 3},
        ),
    ],
)
def test_some_kinds_look_again(checks: UpdateChecks, wanted: dict[str, int]) -> None:
    old = {"metadata": {"name": "a", "namespace": "n", "uid": "1", "resourceVersion": "1"}}
    new = {"metadata": {**old["metadata"], "uid": "2", "labels": {"a": "b c"}, "finalizers": ["f"]}}
    assert Counter(error.field for error in metadata_update_errors(CONFIG_MAP, new, old, checks)) == wanted
    custom = metadata_update_errors(CONFIG_MAP, new, old, checks, builtin=False)
    assert "metadata.finalizers[0]" not in {error.field for error in custom}


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (None, "<none>"),
        ({}, "<none>"),
        ({"matchLabels": {"b": "1", "a": "2"}}, "a=2,b=1"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}, "a in (x,y)"),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a"),
    ],
)
def test_selector_text(selector: Object | None, text: str) -> None:
    assert selector_text(selector) == text


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("APIGroup", "apiGroup"), ("UID", "uid"), ("SELinuxOptions", "seLinuxOptions"), ("Name", "name"),
     ("CIDRs", "cidrs"), ("GMSACredentialSpec", "gmsaCredentialSpec"), ("TTY", "tty")],
)  # fmt: skip
def test_json_names(name: str, wanted: str) -> None:
    assert json_name(name) == wanted


def test_go_objects_show_every_field() -> None:
    assert go_object("RoleRef", {"kind": "Role", "name": "x"}) == {"APIGroup": "", "Kind": "Role", "Name": "x"}


_HOST_FIELDS = {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"}


def full(schema: Schema) -> Any:
    """A value with every field that the schema knows."""
    if schema.properties:
        return {name: full(field) for name, field in schema.properties.items()}
    if schema.items is not None:
        return [full(schema.items)]
    return {"key": "value"} if schema.additional is not None else schema.type


def unlike(wire: Any, shown: Any, path: str) -> list[str]:
    """Where a structure is shown with other fields than it has."""
    if isinstance(wire, list) and isinstance(shown, list):
        return [found for pair in zip(wire, shown, strict=True) for found in unlike(*pair, f"{path}[]")]
    if not isinstance(wire, dict) or not isinstance(shown, dict) or wire == shown:
        return []
    fields = {json_name(name) if name[0].isupper() else name: value for name, value in shown.items()}
    found = [path] if fields.keys() ^ wire.keys() else []
    return found + [each for name in fields.keys() & wire.keys()
                    for each in unlike(wire[name], fields[name], f"{path}.{name}")]  # fmt: skip


def test_pods_are_shown_with_all_that_they_hold() -> None:
    wire = full(definitions().schema("io.k8s.api.core.v1.PodSpec"))
    shown = go_object("PodSpec", wire)
    assert unlike(wire, shown, "pod") == ["pod", "pod.securityContext"]
    fields = [{json_name(name) for name in each} for each in (shown, shown["SecurityContext"])]
    assert wire.keys() - fields[0] == {*_HOST_FIELDS, "serviceAccount"}
    assert fields[1] - wire["securityContext"].keys() == _HOST_FIELDS
    assert shown["Containers"][0]["Env"][0]["ValueFrom"]["SecretKeyRef"] == {
        "Name": "string",
        "Key": "string",
        "Optional": "boolean",
    }


@pytest.mark.parametrize("text", ["10.0.0.1", "::1", "010.000.0.1"])
def test_addresses(text: str) -> None:
    assert parse_ip(text) is not None


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/33", "x/8", "fe80::%eth0/64", ""])
def test_things_that_are_no_networks(text: str) -> None:
    assert parse_cidr(text) is None


def test_events_lead_back() -> None:
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "n",
             "regarding": {"kind": "Pod"}, "reportingController": "c", "reportingInstance": "i"}  # fmt: skip
    stored = to_core(thaw(event))
    assert (stored["message"], stored["involvedObject"]) == ("n", {"kind": "Pod"})
    assert from_core(stored) == event


def _service(**spec: Any) -> Object:
    return {"metadata": {"name": "s"}, "spec": {"type": "ClusterIP", **spec}}


SERVICES = [
    pytest.param(
        _service(clusterIP="1.1.1.1", clusterIPs=["1.1.1.1"]),
        _service(),
        {"clusterIP": "1.1.1.1", "clusterIPs": ["1.1.1.1"]},
        id="addresses stay",
    ),
    pytest.param(
        _service(clusterIP="1.1.1.1", clusterIPs=["1.1.1.1"]),
        _service(type="ExternalName"),
        {},
        id="ExternalName has none",
    ),
    pytest.param(
        _service(type="NodePort", ports=[{"port": 1, "protocol": "TCP", "nodePort": 30001}]),
        _service(type="NodePort", ports=[{"port": 1, "protocol": "TCP"}]),
        {"ports": [{"port": 1, "protocol": "TCP", "nodePort": 30001}]},
        id="node ports stay",
    ),
    pytest.param(
        _service(type="NodePort", ports=[{"port": 1, "protocol": "TCP", "nodePort": 30001}]),
        _service(ports=[{"port": 1, "protocol": "TCP", "nodePort": 30001}]),
        {"ports": [{"port": 1, "protocol": "TCP"}]},
        id="ClusterIP has no node ports",
    ),
]


@pytest.mark.parametrize(("old", "new", "wanted"), SERVICES)
def test_services_keep_what_was_allocated(old: Object, new: Object, wanted: Object) -> None:
    draft = thaw(new)
    prepare_update(draft, old)
    draft["spec"].pop("type")
    assert draft["spec"] == wanted
