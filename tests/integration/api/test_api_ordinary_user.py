"""A control plane without a node needs no superuser: it runs as an ordinary user that owns its folder."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from api_process import api_process

NOBODY = 65534
READS_ALL = 1 << 2
"""CAP_DAC_READ_SEARCH: the interpreter of the tests may lie where this user cannot read. It gives no right to write."""
BY = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search",
)  # fmt: skip


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_control_plane_runs_without_root(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    with api_process(tmp_path, f"--run-dir={tmp_path / 'run'}", controllers=True, by=BY) as server:
        status = status_of(server.process.pid)
        body = json.dumps({"metadata": {"name": "made"}, "data": {"a": "b"}}).encode()
        reply = asyncio.run(server.send("POST", "/api/v1/namespaces/default/configmaps", body))
        assert reply.code == 201, reply.body
        again = asyncio.run(server.send("GET", "/api/v1/namespaces/default/configmaps/made"))
        assert again.object["data"] == {"a": "b"}
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} <= {0, READS_ALL}
    assert (status["NoNewPrivs"], status["Umask"]) == ("1", "0077")
    made = [path for path in (tmp_path / "data").rglob("*") if not path.is_symlink()]
    assert (tmp_path / "data" / "server" / "tls" / "server-ca.key") in made
    open_to_others = [f"{path.stat().st_mode:o} {path}" for path in made if path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert {path.stat().st_uid for path in made} == {NOBODY}
