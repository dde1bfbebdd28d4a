"""The shared suites on Debian's etcd: the store is tested for what etcd does, not for what we think it does."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from datastore_etcd_client import EtcdStore
from etcd_reference import ReferenceEtcd, running_etcd
from test_datastore_model import *  # noqa: F403
from test_datastore_suite import *  # noqa: F403
from test_datastore_transactions import *  # noqa: F403

_OURS_ALONE = {
    "test_compaction_keeps_what_is_newest_at_its_revision": "etcd does not tell its compacted revision",
    "test_keys_of_one_transaction_have_each_their_own_history": "looks at rows",
    "test_a_snapshot_is_a_datastore": "etcd's snapshots are bbolt files",
}
pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="needs Debian's etcd-server")


@pytest.fixture
async def store(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.node.get_closest_marker("in_process"):
        pytest.skip("a promise to callers in the process")
    if request.function.__name__ in _OURS_ALONE:
        pytest.skip(_OURS_ALONE[request.function.__name__])
    with running_etcd(tmp_path) as address:
        reference = ReferenceEtcd(address)
        async with grpc.aio.insecure_channel(address) as channel:
            yield EtcdStore(channel, reference)
        reference.close()
