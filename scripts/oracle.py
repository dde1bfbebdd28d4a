"""Replay the oracle's recordings against a fresh control plane and print the percentages.

    scripts/test oracle [TOPIC ...]     (default: every topic; names without .json)
    ORACLE=DIR                          (default: ../shared/oracle beside the checkout)

The server runs without agent, scheduler and controllers, as the recordings need it, in a network
namespace of its own. Fails when a percentage is below the floor in scripts/oracle_floor.json, so
that no commit loses what an earlier one had.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e")]

from cluster import KUBECTL, Cluster, wait_until  # noqa: E402

FLOOR_FILE = Path(__file__).with_name("oracle_floor.json")
replay_limit_seconds = 1500


def oracle_folder() -> Path | None:
    """Where the recordings are, or None on a machine that does not have them."""
    folder = Path(os.environ.get("ORACLE", ROOT.parent / "shared" / "oracle"))
    return folder if (folder / "replay.py").exists() else None


def start_control_plane(oracle: Path) -> Cluster:
    """A control plane with the recordings' tokens, ready to answer."""
    arguments = (
        "--disable-agent", "--disable-scheduler", "--disable-controller-manager",
        f"--token-auth-file={oracle / 'tokens.csv'}", "--service-account-issuer=https://kubernetes.default.svc",
    )  # fmt: skip
    folder = Path("/tmp") / f"pk-{secrets.token_hex(3)}"
    cluster = Cluster(folder, f"pyk3s-{secrets.token_hex(3)}"[:13], arguments)
    cluster.prepare()
    cluster.start(wait=False)

    def serves() -> bool:
        if cluster.process is None or cluster.process.poll() is not None:
            raise AssertionError(f"server ended: {cluster.log_tail()}")
        return cluster.kubeconfig.exists() and cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok"

    wait_until("control plane", serves)
    return cluster


def replay(cluster: Cluster, oracle: Path, topics: list[str]) -> dict[str, Any]:
    """The HTTP recordings' report."""
    files = [str(oracle / "recorded" / f"{topic}.json") for topic in topics] or [
        str(path) for path in sorted((oracle / "recorded").glob("*.json"))
    ]
    command = cluster.enter(
        sys.executable, str(oracle / "replay.py"), "https://127.0.0.1:6443", "tok", "--json", *files
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=replay_limit_seconds, check=False)
    if not done.stdout:
        raise SystemExit(f"replay failed: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def replay_kubectl(cluster: Cluster, oracle: Path) -> dict[str, Any]:
    """The kubectl recordings' report."""
    files = [str(path) for path in sorted((oracle / "recorded" / "kubectl").glob("*.json"))]
    kubeconfig = token_kubeconfig(cluster)
    command = cluster.enter(
        sys.executable, str(oracle / "kubectl_oracle.py"), "replay", *files, "--kubeconfig", str(kubeconfig),
        "--kubectl", str(KUBECTL), "--json",
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=replay_limit_seconds, check=False)
    if not done.stdout:
        raise SystemExit(f"kubectl replay failed: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def token_kubeconfig(cluster: Cluster) -> Path:
    """A kubeconfig with the token that was used at the recording, in the place of a client certificate."""
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": "tok"}
    path = cluster.folder / "token.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


def main() -> None:
    oracle = oracle_folder()
    if oracle is None:
        print("oracle: no recordings on this machine (ORACLE names their folder); nothing replayed")
        return
    topics = sys.argv[1:]
    cluster = start_control_plane(oracle)
    try:
        report = replay(cluster, oracle, topics)
        kubectl = replay_kubectl(cluster, oracle) if not topics else {"match": 0, "total": 0, "files": {}}
    finally:
        cluster.remove()
        shutil.rmtree(cluster.folder)
    for name, counts in report["files"].items():
        print(f"{name:34} {counts['match']:5}/{counts['total']}")
    (ROOT / ".cache").mkdir(exist_ok=True)
    (ROOT / ".cache" / "oracle.json").write_text(json.dumps({"http": report, "kubectl": kubectl}, indent=1))
    found = {
        "steps": percent(report["match"], report["total"]),
        "status_codes": percent(report["status_match"], report["total"]),
        "kubectl": percent(kubectl["match"], kubectl["total"]),
    }
    print(
        f"oracle: {found['steps']:.2f} % of {report['total']} steps, {found['status_codes']:.2f} % right status codes, "
        f"kubectl {found['kubectl']:.2f} % of {kubectl['total']} command lines (details: .cache/oracle.json)"
    )
    if not topics:
        check_floor(found)


def check_floor(found: dict[str, float]) -> None:
    """Exit with 1 when a figure fell below what is committed."""
    floor: dict[str, float] = json.loads(FLOOR_FILE.read_text())
    fallen = [f"{name} {found[name]:.2f} < {least:.2f}" for name, least in floor.items() if found[name] < least]
    if fallen:
        raise SystemExit("oracle: fell below the floor: " + ", ".join(fallen))


if __name__ == "__main__":
    main()
