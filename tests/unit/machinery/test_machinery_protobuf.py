"""Protobuf: bytes of the reference, round trips of every kind, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.machinery import protobuf
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.schema import definitions
from minikube_py.machinery.wire import WireError, fields, read_varint, signed, varint


def test_the_bytes_of_a_config_map() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    data = protobuf.encode(obj)
    meta = b"\x0a\x03\x0a\x01a"
    entry = b"\x12\x06\x0a\x01k\x12\x01v"
    message = meta + entry
    head = b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap"
    assert data == b"k8s\x00" + head + b"\x12" + bytes([len(message)]) + message + b"\x1a\x00\x22\x00"
    assert protobuf.decode(data) == obj


OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "creationTimestamp": "2026-11-21T06:20:13Z",
     "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
     "spec": {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": "web"}, "periodSeconds": 3},
     "resources": {"limits": {"cpu": "100m"}}, "env": [{"name": "E", "valueFrom": {"secretKeyRef":
     {"name": "s", "key": "k"}}}]}], "volumes": [{"name": "v", "configMap": {"name": "c", "items": [
     {"key": "k", "path": "p", "mode": 420}]}}, {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}}],
     "terminationGracePeriodSeconds": -1, "ephemeralContainers": [{"name": "d", "image": "i"}]}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AAE="}, "immutable": False},
    {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
     "spec": {"hostPath": {"path": "/x"}, "capacity": {"storage": "1Gi"}}},
    {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
     "spec": {"renewTime": "2026-11-21T06:20:13.250000Z", "leaseDurationSeconds": 40}},
    {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
     "spec": {"user": "u", "extra": {"a": ["x", "y"]}}},
    {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {},
     "webhooks": [{"name": "w", "rules": [{"apiGroups": ["*"], "operations": ["CREATE"]}]}]},
    {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
     "spec": {"group": "g", "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object",
     "properties": {"a": {"type": "array", "items": {"type": "string"}, "default": ["x"]},
     "n": {"type": "number", "maximum": 1.5, "x-kubernetes-int-or-string": True}},
     "additionalProperties": False}}}]}},
    {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1."},
     "spec": {"groupPriorityMinimum": 1, "versionPriority": 2}},
    {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "5"},
     "items": [{"metadata": {"name": "a", "labels": {"x": "y"}}}]},
]  # fmt: skip


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: obj["kind"])
def test_round_trips(obj: dict[str, Any]) -> None:
    assert protobuf.decode(protobuf.encode(obj)) == obj


def test_every_message_of_the_table_compiles() -> None:
    known = definitions()
    for name in known:
        schema = known.schema(name)
        if protobuf.has_protobuf(schema):
            assert protobuf.encode_message(schema, {}) == b""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"garbage", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\x00", "empty body"),
        (b"k8s\x00\x0a\xff", "unexpected EOF"),
    ],
)
def test_unreadable_bodies(data: bytes, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        protobuf.decode(data)
    assert (caught.value.code, caught.value.message) == (400, why)


def test_kinds_without_a_protobuf_form() -> None:
    with pytest.raises(ApiError) as caught:
        protobuf.encode({"apiVersion": "example.com/v1", "kind": "Widget"})
    assert caught.value.code == 406
    with pytest.raises(ApiError) as caught:
        protobuf.decode(protobuf.envelope("example.com/v1", "Widget", b""))
    assert caught.value.code == 400


def test_watch_events_are_framed() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    frame = protobuf.encode_watch_event("ADDED", obj)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    event = {number: value for number, _, value in fields(frame[4:])}
    assert event[1] == b"ADDED"
    assert isinstance(event[2], bytes)
    ((_, _, raw),) = fields(event[2])
    assert isinstance(raw, bytes)
    assert protobuf.decode(raw) == obj


@settings(max_examples=60)
@given(st.integers(-(2**63), 2**63 - 1))
def test_varints_round_trip(number: int) -> None:
    encoded = varint(number)
    value, end = read_varint(encoded, 0)
    assert (signed(value), end) == (number, len(encoded))


@settings(max_examples=60)
@given(st.binary(max_size=30))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        list(fields(data))
    except WireError:
        return


def test_the_table_is_small() -> None:
    assert Path(protobuf.__file__).with_name("protobuf_fields.txt").stat().st_size < 60_000
