"""Clients that nobody here wrote: Helm and the official Python client do their usual work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from cluster import IMAGE, KUBECTL, Cluster

HELM = KUBECTL.with_name("helm")

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: c
          image: {{ .Values.image }}
          imagePullPolicy: IfNotPresent
          command: [sleep, "600"]
"""

PYTHON_CLIENT = """
import sys
from kubernetes import client, config, watch
config.load_kube_config(sys.argv[1])
core, namespace = client.CoreV1Api(), sys.argv[2]
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c", labels={"a": "b"}), data={"k": "v"})
made = core.create_namespaced_config_map(namespace, body)
assert core.read_namespaced_config_map("c", namespace).data == {"k": "v"}
core.patch_namespaced_config_map("c", namespace, {"data": {"k": "w"}})
listed = core.list_namespaced_config_map(namespace, label_selector="a=b")
assert [item.data for item in listed.items] == [{"k": "w"}]
version = made.metadata.resource_version
for event in watch.Watch().stream(core.list_namespaced_config_map, namespace, label_selector="a=b",
                                  resource_version=version, timeout_seconds=20):
    assert (event["type"], event["object"].data) == ("MODIFIED", {"k": "w"})
    break
try:
    core.read_namespaced_config_map("none", namespace)
except client.ApiException as error:
    assert error.status == 404
core.delete_namespaced_config_map("c", namespace)
print("all of it", client.VersionApi().get_code().git_version)
"""


def write_chart(folder: Path) -> None:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "sleeper", "version": "0.1.0"}))
    (folder / "values.yaml").write_text(yaml.safe_dump({"replicas": 1, "image": IMAGE}))
    (folder / "templates" / "deployment.yaml").write_text(DEPLOYMENT)


def test_helm_installs_upgrades_rolls_back_and_uninstalls(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    chart = tmp_path / "sleeper"
    write_chart(chart)

    def helm(*arguments: str) -> str:
        files = ("env", f"HOME={tmp_path}", str(HELM), f"--kubeconfig={cluster.kubeconfig}", "-n", namespace)
        return cluster.run(*files, *arguments, seconds=120)

    def replicas() -> int:
        return int(cluster.get("deployment", "s", "-n", namespace)["spec"]["replicas"])

    assert "STATUS: deployed" in helm("install", "s", str(chart), "--wait", "--timeout", "90s")
    assert replicas() == 1
    assert "REVISION: 2" in helm("upgrade", "s", str(chart), "--set", "replicas=2", "--wait", "--timeout", "90s")
    assert replicas() == 2
    helm("rollback", "s", "1", "--wait", "--timeout", "90s")
    assert replicas() == 1
    history = json.loads(helm("history", "s", "-o", "json"))
    assert [entry["revision"] for entry in history] == [1, 2, 3]
    assert "uninstalled" in helm("uninstall", "s", "--wait", "--timeout", "90s")
    assert cluster.get("deployment", "s", "-n", namespace) is None


def test_official_python_client(cluster: Cluster, namespace: str) -> None:
    output = cluster.run(sys.executable, "-c", PYTHON_CLIENT, str(cluster.kubeconfig), namespace)
    assert "all of it v1.36" in output
