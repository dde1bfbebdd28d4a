"""Helm with a chart of hooks, a test, a CRD folder and an own resource of that kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client_definitions import definition
from cluster import IMAGE, KUBECTL, Cluster

HELM = KUBECTL.with_name("helm")
ENGINES = definition("helm.example.com", "engines", "Engine", {"power": {"type": "integer"}})
VALUES = {"image": IMAGE, "power": 1, "check": "true"}

HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "1"
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
        - name: c
          image: {{ .Values.image }}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, {{ .Values.check | quote }}]
"""
TEST = """
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: {{ .Values.image }}
      imagePullPolicy: IfNotPresent
      command: [sh, -c, {{ .Values.check | quote }}]
"""
ENGINE = """
apiVersion: helm.example.com/v1
kind: Engine
metadata: {name: {{ .Release.Name }}}
spec: {power: {{ .Values.power }}}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "motor"
    files = {
        "Chart.yaml": json.dumps({"apiVersion": "v2", "name": "motor", "version": "0.1.0", "icon": "file:///icon.png"}),
        "values.yaml": json.dumps(VALUES),
        "crds/engines.yaml": json.dumps(ENGINES),
        "templates/before.yaml": HOOK,
        "templates/engine.yaml": ENGINE,
        "templates/tests/test.yaml": TEST,
        "templates/NOTES.txt": "{{ .Release.Name }} runs on {{ .Capabilities.KubeVersion.Minor }}",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def helm(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs Helm in the test's namespace; ``check=False`` gives what a failure says."""

    def run(*arguments: str, check: bool = True) -> str:
        files = ("env", f"HOME={tmp_path}", str(HELM), f"--kubeconfig={cluster.kubeconfig}", "-n", namespace)
        return cluster.run(*files, *arguments, check=check)

    yield run
    cluster.kubectl("delete", "crd", str(ENGINES["metadata"]["name"]), "--ignore-not-found")


def test_hooks_tests_and_definitions(cluster: Cluster, namespace: str, chart: Path, helm: Callable[..., str]) -> None:
    """lint, template, install, test, a hook that fails an upgrade, upgrade, rollback, diff of revisions, uninstall."""
    assert "0 chart(s) failed" in helm("lint", str(chart))
    assert "kind: Engine" in helm("template", "m", str(chart), "--include-crds")

    def power() -> int:
        return int(cluster.get("engine", "m", "-n", namespace)["spec"]["power"])

    wait = ("--wait", "--timeout", "30s")
    said = helm("install", "m", str(chart), *wait)
    assert "STATUS: deployed" in said and "m runs on 36" in said
    assert power() == 1
    assert cluster.get("job", "m-before", "-n", namespace)["status"]["succeeded"] == 1
    assert "Phase:          Succeeded" in helm("test", "m", "--timeout", "30s")
    failed = helm("upgrade", "m", str(chart), "--set", "power=2,check=false", *wait, check=False)
    assert "pre-upgrade hooks failed" in failed, failed
    assert power() == 1
    helm("upgrade", "m", str(chart), "--set", "power=3", *wait)
    assert power() == 3
    helm("rollback", "m", "1", *wait)
    assert power() == 1
    states = [entry["status"] for entry in json.loads(helm("history", "m", "-o", "json"))]
    assert states == ["superseded", "failed", "superseded", "deployed"]
    assert json.loads(helm("list", "-o", "json"))[0]["revision"] == "4"
    assert "power: 3" in helm("get", "manifest", "m", "--revision", "3")
    helm("uninstall", "m", "--wait")
    assert cluster.get("engine", "m", "-n", namespace) is None
    assert cluster.get("crd", str(ENGINES["metadata"]["name"])), "Helm never removes definitions"
