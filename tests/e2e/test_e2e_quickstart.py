"""scripts/quickstart's second half as a user sees it: up, again, down, and nothing left.

Runs in a network namespace with no route out, on the default paths (/var/lib/pyk3s, ...). The
virtual environment is a thin one on top of this one: the first half (Debian packages, pip) needs
the registries and is what made this environment.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import KUBECTL, Cluster, short_folder

ROOT = Path(__file__).resolve().parent.parent.parent
TRACES = [Path(path) for path in ("/var/lib/pyk3s", "/etc/pyk3s", "/run/pyk3s", "/var/log/pyk3s.log")]


@pytest.fixture
def host() -> Iterator[Cluster]:
    """A namespace with an address; no server in it."""
    made = Cluster(short_folder(), f"pyk3s-{secrets.token_hex(3)}"[:13])
    made.prepare()
    yield made
    subprocess.run(["ip", "netns", "del", made.namespace], check=True)
    shutil.rmtree(made.folder)


def thin_environment(home: Path) -> None:
    """A virtual environment at ``home`` that sees this one's packages and tools."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next((home / "lib").glob("python3.*")) / "site-packages"
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    program = home / "bin" / "pyk3s"
    program.write_text(f"#!{home}/bin/python\nfrom minikube_py.cli import main\nmain()\n")
    program.chmod(0o755)
    tools = home / "share" / "pyk3s" / "tools"
    tools.mkdir(parents=True)
    (tools / "kubectl").symlink_to(KUBECTL)


def test_up_again_and_down(host: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    present = [str(path) for path in TRACES if path.exists()]
    if present:
        pytest.skip(f"this machine has a pyk3s of its own, which this test would remove: {present}")
    monkeypatch.setenv("PYK3S_NO_SYSTEMD", "1")
    monkeypatch.setenv("COLUMNS", "120")
    home = host.folder / "home"
    thin_environment(home)
    quickstart = [str(home / "bin" / "python"), str(ROOT / "scripts" / "quickstart.py"), "--home", str(home)]
    try:
        first = host.run(*quickstart, seconds=150)
        assert "Hello from pyk3s" in first
        assert "pyk3s kubectl get pods -A" in first
        assert Path("/etc/pyk3s/pyk3s.yaml").stat().st_mode & 0o777 == 0o600
        assert "Hello from pyk3s" in host.run(*quickstart, seconds=150)
        pods = host.run(str(home / "bin" / "pyk3s"), "kubectl", "get", "pods", "--no-headers")
        assert len(pods.splitlines()) == 3
    finally:
        last = host.run(*quickstart, "--down", seconds=150)
    assert "nothing is left behind" in last
    assert [str(path) for path in (*TRACES, home, Path("/usr/local/bin/pyk3s")) if path.exists()] == []
    assert "pyk3s" not in host.run("nft", "list", "tables")
    assert host.run("ip", "-brief", "link").count("\n") == 3  # loopback and the namespace's own pair
