"""Test doubles that keep the real ones' promises: virtual time and an API in memory."""

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.client.testing.fake_recorder import FakeRecorder, RecordedEvent

__all__ = ["FakeClient", "FakeClock", "FakeRecorder", "RecordedEvent"]
