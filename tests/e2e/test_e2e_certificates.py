"""Certificates with real tools: a user's own by kubectl, and a CA rotation under a running pod."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml
from cluster import IMAGE, KUBECTL, PYK3S, Cluster, wait_until


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_user_certificate_by_kubectl_certificate_approve(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """As in the documentation: a key, a request, an approval; then kubectl works as that user and no further."""
    key, request, certificate = tmp_path / "jane.key", tmp_path / "jane.csr", tmp_path / "jane.crt"
    openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key),
        "-subj", "/O=devs/CN=jane", "-out", str(request),
    )  # fmt: skip
    name = f"jane-{namespace}"
    cluster.apply(
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": base64.b64encode(request.read_bytes()).decode(),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
                "expirationSeconds": 3600,
            },
        }
    )
    assert "Pending" in cluster.kubectl("get", "csr", name)
    cluster.kubectl("certificate", "approve", name)
    found = wait_until(
        "the certificate", lambda: cluster.kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}")
    )
    certificate.write_bytes(base64.b64decode(found))
    assert "Approved,Issued" in cluster.kubectl("get", "csr", name)
    # the kubeconfig's own identity would win over flags, so jane gets one of her own
    own = tmp_path / "jane.yaml"
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"client-certificate": str(certificate), "client-key": str(key)}
    own.write_text(yaml.safe_dump(content))

    def as_jane(*arguments: str, check: bool = True) -> str:
        return cluster.run(str(KUBECTL), f"--kubeconfig={own}", "-n", namespace, *arguments, check=check)

    assert "jane" in as_jane("auth", "whoami") and "devs" in as_jane("auth", "whoami")
    refused = as_jane("get", "pods", check=False)
    assert f'User "jane" cannot list resource "pods" in API group "" in the namespace "{namespace}"' in refused
    cluster.kubectl("-n", namespace, "create", "rolebinding", "jane", "--clusterrole=view", "--group=devs")
    wait_until("jane may look", lambda: "No resources found" in as_jane("get", "pods", check=False))
    cluster.kubectl("delete", "csr", name)


def node_api_issuer(cluster: Cluster) -> str:
    """Who signed what the node API shows to a new connection."""
    shown = cluster.run("openssl", "s_client", "-connect", "127.0.0.1:10250", check=False)
    return subprocess.run(
        ["openssl", "x509", "-noout", "-issuer"], input=shown, capture_output=True, text=True, check=True
    ).stdout


def test_ca_rotation_under_a_running_pod(own_cluster: Callable[..., Cluster]) -> None:
    """Nothing restarts: old and new kubeconfig work, logs and exec reach the kubelet, pods get the new bundle."""
    cluster = own_cluster()
    cluster.start()
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "c",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "echo hello; sleep 600"],
                    }
                ],
            },
        }
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
    old_kubeconfig = cluster.folder / "old.yaml"
    shutil.copy(cluster.kubeconfig, old_kubeconfig)
    before, process = node_api_issuer(cluster), cluster.process
    assert cluster.kubectl("logs", "p") == "hello\n"
    said = cluster.run(str(PYK3S), "certificate", "rotate-ca", f"--data-dir={cluster.data_dir}")
    assert "rotated server-ca" in said
    bundle = (cluster.data_dir / "server" / "tls" / "server-ca.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") == 3

    wait_until("the node API has a new certificate", lambda: node_api_issuer(cluster) != before)
    wait_until("the kubeconfig is new", lambda: cluster.kubeconfig.read_bytes() != old_kubeconfig.read_bytes())
    for kubeconfig in (old_kubeconfig, cluster.kubeconfig):
        command = [str(KUBECTL), f"--kubeconfig={kubeconfig}"]
        assert cluster.run(*command, "logs", "p") == "hello\n"
        assert cluster.run(*command, "exec", "p", "--", "echo", "here") == "here\n"
    published = ("get", "configmap", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    wait_until("every namespace has the bundle", lambda: cluster.kubectl(*published).strip() == bundle.strip())
    mounted = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    wait_until(
        "the pod has the bundle",
        lambda: cluster.kubectl("exec", "p", "--", "cat", mounted).strip() == bundle.strip(),
        seconds=120,
        every=2,
    )
    assert cluster.process is process and process is not None and process.poll() is None
    assert cluster.get("pod", "p")["status"]["containerStatuses"][0]["restartCount"] == 0
    checked = cluster.run(str(PYK3S), "certificate", "check", f"--data-dir={cluster.data_dir}")
    assert "EXPIRED" not in checked
