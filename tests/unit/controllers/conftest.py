"""The controllers' world as a fixture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from controllers_world import World, served

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.settings import ControllerSettings
from minikube_py.machinery.observed import Observed


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    client = FakeClient(clock)
    recorder = FakeRecorder()
    kit = Kit(client, clock, recorder, ControllerSettings(root_ca=Observed("PEM")), served)
    made = World(clock, client, recorder, kit)
    yield made
    failed = [task for task in made.tasks if task.done() and not task.cancelled() and task.exception()]
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    for task in failed:
        task.result()
