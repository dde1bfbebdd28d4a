"""What the hardened defaults promise (docs/security.md, CIS Kubernetes Benchmark), on a running node."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import IMAGE, NODE_IP, Cluster, new_cluster, short_folder, wait_until

from minikube_py.components.kubelet.node.kernel_defaults import wrong_kernel_settings
from minikube_py.host.hardening import CONTROL_PLANE, NODE
from minikube_py.host.tls_policy import SUITES

API, NODE_API = f"https://{NODE_IP}:6443", f"https://{NODE_IP}:10250"
READER = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: default}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: default}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata: {name: stats-reader}
  rules: [{apiGroups: [""], resources: [nodes/stats, nodes/metrics], verbs: [get]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRoleBinding
  metadata: {name: stats-reader}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: stats-reader}
  subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
"""


def code(cluster: Cluster, url: str, *options: str) -> str:
    """The status of a request to a server whose certificate is not what is looked at."""
    out = cluster.run(
        "curl", "-sk", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", *options, url,
        check=False,
    )  # fmt: skip
    return out.strip()


# --- files ---------------------------------------------------------------------------------------------------------


def too_open(folder: Path, allowed: int) -> list[str]:
    """Files, folders and sockets below (and with) ``folder`` that are open to more than ``allowed`` or not root's."""
    found = []
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and (stat.S_IMODE(status.st_mode) & ~allowed or status.st_uid != 0):
            found.append(f"{stat.S_IMODE(status.st_mode):o} {path}")
    return found


def test_everything_of_the_control_plane_is_root_s_alone(cluster: Cluster) -> None:
    assert too_open(cluster.data_dir / "server", 0o700) == []


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("kubeconfig.yaml", 0o600),
        ("data/server/db", 0o700),
        ("data/server/db/state.db", 0o600),
        ("data/server/tls/server-ca.key", 0o600),
        ("data/server/token", 0o600),
        ("data/agent", 0o700),
        ("data/agent/serving-kubelet.key", 0o600),
        ("data/agent/client-ca.crt", 0o600),
        ("data/agent/pod-manifests", 0o700),
        ("data/agent/kubelet", 0o750),
        ("data/agent/etc/cni/net.d/10-pyk3s.conflist", 0o600),
        ("data/agent/etc/containerd/config.toml", 0o600),
        ("data/agent/containerd/containerd.log", 0o600),
        ("run/containerd/containerd.sock", 0o660),
    ],
)
def test_modes_of_the_files_that_the_benchmark_names(cluster: Cluster, path: str, mode: int) -> None:
    status = (cluster.folder / path).stat()
    assert f"{stat.S_IMODE(status.st_mode):o}" == f"{mode:o}"
    assert (status.st_uid, status.st_gid) == (0, 0)


# --- TLS -----------------------------------------------------------------------------------------------------------

ECDSA = [suite for suite in SUITES.values() if "ECDSA" in suite]
WEAK = [
    "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-NULL-SHA", "AES128-SHA", "AES128-GCM-SHA256", "AECDH-AES128-SHA",
]  # fmt: skip


def handshake(cluster: Cluster, port: int, *options: str) -> str:
    """The suite that openssl gets, or an empty text."""
    out = cluster.run("openssl", "s_client", "-connect", f"{NODE_IP}:{port}", *options, check=False, seconds=20)
    lines = [line for line in out.splitlines() if "Cipher is " in line]
    assert lines, out
    name = lines[0].rpartition("Cipher is ")[2]
    return "" if name == "(NONE)" else name


@pytest.mark.parametrize("port", [6443, 10250])
def test_tls_offers_what_is_modern_and_nothing_else(cluster: Cluster, port: int) -> None:
    weakest = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    for version in ("-tls1", "-tls1_1"):
        assert handshake(cluster, port, version, "-cipher", weakest) == "", version
    for suite in WEAK:
        assert handshake(cluster, port, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0") == "", suite
    for suite in ECDSA:
        assert handshake(cluster, port, "-tls1_2", "-cipher", suite) == suite
    assert handshake(cluster, port, "-tls1_3").startswith("TLS_")


# --- anonymous requests to the API --------------------------------------------------------------------------------

OPEN = {"/livez", "/readyz", "/healthz", "/version", "/version/"}
CLOSED = {
    "/", "/api", "/apis", "/api/v1/namespaces", "/api/v1/secrets", "/metrics", "/openapi/v2", "/openapi/v3", "/logs/",
    "/debug/pprof/", "/debug/flags/v", "/configz", "/livez/ping", "/openid/v1/jwks",
    "/.well-known/openid-configuration", "/healthz/../api/v1/secrets", "/version/../api/v1/secrets",
    "//api/v1/secrets", "/%61pi/v1/secrets",
}  # fmt: skip


def test_without_credentials_only_health_and_version_are_shown(cluster: Cluster) -> None:
    assert {path: code(cluster, API + path) for path in OPEN} == dict.fromkeys(OPEN, "200")
    assert {path: code(cluster, API + path) for path in CLOSED} == dict.fromkeys(CLOSED, "403")


def test_without_credentials_nothing_is_written(cluster: Cluster) -> None:
    targets = ["namespaces", "namespaces/default/pods", "nodes/node-1/proxy/pods", "namespaces/default/secrets/x"]
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for target in targets:
            assert code(cluster, f"{API}/api/v1/{target}", "-X", method, "-d", "{}") == "403", (method, target)
        for path in ("/livez", "/version"):
            assert code(cluster, API + path, "-X", method, "-d", "{}") == "403", (method, path)


def test_a_wrong_token_is_not_an_anonymous_request(cluster: Cluster) -> None:
    assert code(cluster, f"{API}/livez", "-H", "Authorization: Bearer nonsense") == "401"


def test_nobody_profiles_the_server(cluster: Cluster) -> None:
    admin = certificate(cluster, "server/tls/client-admin")
    for url in (API, NODE_API):
        for path in ("/debug/pprof/", "/debug/pprof/profile", "/debug/flags/v"):
            assert code(cluster, url + path, *admin) == "404", url + path


# --- the node API --------------------------------------------------------------------------------------------------

PATHS = {
    "/healthz": "200",
    "/pods": "200",
    "/runningpods/": "200",
    "/metrics": "200",
    "/metrics/cadvisor": "200",
    "/metrics/resource": "200",
    "/metrics/probes": "200",
    "/stats/summary": "200",
    "/configz": "200",
    "/containerLogs/default/none/none": "404",
    "/exec/default/none/none?command=id": "404",
    "/attach/default/none/none": "404",
    "/portForward/default/none": "404",
    "/run/default/none/none?cmd=id": "405",
    "/logs/": "404",
    "/spec/": "404",
    "/debug/pprof/": "404",
    "/nothing": "404",
}
"""Every path of the kubelet, and what who may do everything gets for a GET."""


def certificate(cluster: Cluster, name: str) -> list[str]:
    path = cluster.data_dir / name
    return ["--cert", f"{path}.crt", "--key", f"{path}.key"]


def bearer(cluster: Cluster, account: str) -> list[str]:
    return ["-H", f"Authorization: Bearer {cluster.kubectl('create', 'token', account).strip()}"]


@pytest.fixture(scope="module")
def accounts(cluster: Cluster) -> Cluster:
    cluster.kubectl("apply", "-f", "-", stdin=READER)
    return cluster


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> list[str]:
    """A certificate of the group system:masters that another authority signed."""
    path = tmp_path_factory.mktemp("foreign") / "mallory"
    cluster.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", f"{path}.key", "-out", f"{path}.crt", "-subj", "/O=system:masters/CN=mallory", "-days", "2",
    )  # fmt: skip
    return ["--cert", f"{path}.crt", "--key", f"{path}.key"]


def statuses(cluster: Cluster, *options: str) -> dict[str, str]:
    return {path: code(cluster, NODE_API + path, *options) for path in PATHS}


def test_the_node_api_knows_its_callers(accounts: Cluster, foreign: list[str]) -> None:
    everywhere = dict.fromkeys(PATHS, "401")
    assert statuses(accounts) == everywhere
    assert statuses(accounts, "-H", "Authorization: Bearer nonsense") == everywhere
    assert statuses(accounts, "-H", "Authorization: Basic YWRtaW46YWRtaW4=") == everywhere
    assert statuses(accounts, "-H", "X-Remote-User: admin", "-H", "X-Remote-Group: system:masters") == everywhere
    assert set(statuses(accounts, *foreign).values()) <= {"000", "401"}


def test_the_node_api_asks_what_they_may(accounts: Cluster) -> None:
    assert statuses(accounts, *bearer(accounts, "nobody")) == dict.fromkeys(PATHS, "403")
    granted = {path: status for path, status in PATHS.items() if path.startswith(("/metrics", "/stats"))}
    assert statuses(accounts, *bearer(accounts, "reader")) == dict.fromkeys(PATHS, "403") | granted
    assert statuses(accounts, *certificate(accounts, "server/tls/client-admin")) == PATHS
    assert statuses(accounts, *certificate(accounts, "server/tls/client-kube-apiserver")) == PATHS
    # the scheduler's certificate is a good one, of somebody who has no business here
    assert statuses(accounts, *certificate(accounts, "server/tls/client-scheduler")) == dict.fromkeys(PATHS, "403")


@pytest.mark.parametrize(
    "path",
    [
        "/stats/../exec/default/none/none?command=id", "/metrics/../pods", "//pods", "/stats/..%2fpods",
        "/%2e%2e/pods", "/metrics%2f..%2fpods", "/./pods", "/pods?x=/metrics", "/pods#/metrics", "/stats/%2e%2e/pods",
        "/metrics/..;/pods", "/Stats/summary", "/metricsx", "/statssummary",
    ],
)  # fmt: skip
def test_no_spelling_of_a_path_gives_more_than_was_granted(accounts: Cluster, path: str) -> None:
    assert code(accounts, NODE_API + path, *bearer(accounts, "reader")) in ("403", "404")


def test_methods_are_verbs_of_their_own(accounts: Cluster) -> None:
    reader = bearer(accounts, "reader")
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        assert code(accounts, f"{NODE_API}/stats/summary", "-X", method, *reader) == "403", method


# --- the process ---------------------------------------------------------------------------------------------------


def listening(cluster: Cluster) -> set[tuple[str, str, str]]:
    """(program, protocol, address) of everything that listens on the network in the node's namespace."""
    assert cluster.process is not None
    found = set()
    for line in cluster.run("ss", "-Hlntup").splitlines():
        fields = line.split()
        address, _, port = fields[4].rpartition(":")
        program = "pyk3s" if f"pid={cluster.process.pid}," in fields[6] else fields[6].split('"')[1]
        found.add((program, fields[0], f"{address}:{'*' if program == 'containerd' else port}"))
    return found


def test_nothing_listens_but_what_is_documented(cluster: Cluster) -> None:
    documented = {
        ("pyk3s", "tcp", "0.0.0.0:6443"),
        ("pyk3s", "tcp", "0.0.0.0:10250"),
        ("pyk3s", "tcp", "10.43.0.10:53"),
        ("pyk3s", "udp", "10.43.0.10:53"),
        ("containerd", "tcp", "127.0.0.1:*"),  # streams of exec, attach and port-forward; a secret URL each
    }
    wait_until("cluster DNS, which starts after the node is Ready", lambda: documented <= listening(cluster))
    assert listening(cluster) == documented


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def mask(capabilities: dict[str, int]) -> int:
    return sum(1 << number for number in capabilities.values())


def test_the_process_keeps_the_privileges_of_a_node_alone(cluster: Cluster) -> None:
    assert cluster.process is not None
    status = status_of(cluster.process.pid)
    own = int(status_of(os.getpid())["CapPrm"], 16)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == own & mask(NODE)
    assert status["Umask"] == "0022"


def test_a_privileged_pod_gets_what_the_process_gave_up(cluster: Cluster, namespace: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "all", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "all",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["grep", "CapEff", "/proc/self/status"],
                    "securityContext": {"privileged": True},
                }
            ],
        },
    }
    cluster.apply(pod)
    cluster.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/all", "--timeout=60s")
    seen = cluster.kubectl("-n", namespace, "logs", "all").split()[1]
    assert int(seen, 16) == int(status_of(os.getpid())["CapBnd"], 16)


def test_other_users_see_neither_its_environment_nor_its_memory(cluster: Cluster) -> None:
    assert cluster.process is not None
    for name in ("environ", "mem", "fd/0", "maps"):
        path = f"/proc/{cluster.process.pid}/{name}"
        out = cluster.run("setpriv", "--reuid=65534", "--clear-groups", "cat", path, check=False)
        assert "Permission denied" in out, (name, out)


def test_secrets_are_in_no_log_command_line_or_environment(own_cluster: Callable[..., Cluster]) -> None:
    word, agents = "s3cret-of-servers", "s3cret-of-agents"
    cluster = own_cluster(f"--agent-token={agents}")
    cluster.environment = {"PYK3S_TOKEN": word}
    cluster.start()
    cluster.kubectl("create", "secret", "generic", "one", "--from-literal=word=hunter2-in-plain-sight")
    cluster.kubectl("get", "secret", "one", "-o", "yaml")
    token = cluster.kubectl("create", "token", "default").strip()
    assert token in cluster.run("echo", token)
    assert cluster.kubectl(f"--token={token}", "auth", "whoami")
    assert cluster.process is not None
    containerd = int((cluster.folder / "run/containerd/containerd.pid").read_text())
    for pid in (cluster.process.pid, containerd):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert agents.encode() not in line and word.encode() not in line
    assert word.encode() not in Path(f"/proc/{containerd}/environ").read_bytes()
    logs = cluster.log.read_text() + (cluster.data_dir / "agent/containerd/containerd.log").read_text()
    for secret in (word, agents, token, "hunter2-in-plain-sight", "PRIVATE KEY"):
        assert secret not in logs
    assert word in (cluster.data_dir / "server" / "token").read_text()
    assert agents in (cluster.data_dir / "server" / "agent-token").read_text()


# --- options -------------------------------------------------------------------------------------------------------


@pytest.fixture
def control_plane() -> Iterator[Cluster]:
    folder = short_folder()
    folder.mkdir()
    (folder / "secret").write_text("from-a-file\n")
    made = new_cluster(
        folder, "--disable-agent", "--tls-min-version=VersionTLS13", f"--token-file={folder / 'secret'}",
        "--no-anonymous-auth", f"--etcd-listen={NODE_IP}:2379",
    )  # fmt: skip
    try:
        made.start(wait=False)
        wait_until("the API", lambda: answers(made), seconds=30)
        yield made
    finally:
        made.remove()
        shutil.rmtree(folder)


def answers(cluster: Cluster) -> bool:
    return cluster.kubeconfig.exists() and cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok"


def test_a_control_plane_as_tight_as_it_gets(control_plane: Cluster) -> None:
    cluster = control_plane
    for port in (6443, 2379):
        assert handshake(cluster, port, "-tls1_2") == "", port
        assert handshake(cluster, port, "-tls1_3").startswith("TLS_"), port
    assert cluster.process is not None
    status = status_of(cluster.process.pid)
    own = status_of(os.getpid())
    assert int(status["CapEff"], 16) == int(own["CapPrm"], 16) & mask(CONTROL_PLANE)
    assert int(status["CapBnd"], 16) == int(own["CapBnd"], 16) & mask(CONTROL_PLANE)
    assert (status["NoNewPrivs"], status["Umask"]) == ("1", "0077")
    assert too_open(cluster.data_dir, 0o755) == [] and too_open(cluster.data_dir / "server", 0o700) == []
    assert code(cluster, f"{API}/livez") == "401"
    etcd = f"https://{NODE_IP}:2379/etcdserverpb.KV/Range"
    call = ("--http2", "-X", "POST", "-H", "content-type: application/grpc")
    assert code(cluster, etcd, *call) == "000"
    assert code(cluster, etcd, *call, *certificate(cluster, "server/tls/client-kube-apiserver")) == "200"
    assert "from-a-file" in (cluster.data_dir / "server" / "token").read_text()
    assert listening(cluster) == {("pyk3s", "tcp", "0.0.0.0:6443"), ("pyk3s", "tcp", f"{NODE_IP}:2379")}
    assert json.loads(cluster.kubectl("get", "--raw", "/api/v1/namespaces"))["kind"] == "NamespaceList"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tls-min-version=VersionTLS10"], "TLS version 'VersionTLS10' is not offered"),
        (["--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"], "cipher suite 'TLS_RSA_WITH_RC4_128_SHA' is not offered"),
        (["--token-file=/nowhere"], "--token-file: cannot read /nowhere: No such file or directory"),
        (["--token=a", "--token-file=/nowhere"], "--token and --token-file are both given"),
    ],
)
def test_weak_or_wrong_settings_are_refused_in_one_line(
    own_cluster: Callable[..., Cluster], arguments: list[str], text: str
) -> None:
    cluster = own_cluster(*arguments)
    cluster.start(wait=False)
    assert cluster.process is not None
    assert cluster.process.wait(30) == 1
    assert text in cluster.log.read_text().splitlines()[-1]


def test_pods_are_confined_where_it_is_asked_for(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster("--seccomp-default", "--pod-max-pids=64", "--no-service-account-extend-token-expiration")
    cluster.start()
    cluster.kubectl(
        "run", "web", f"--image={IMAGE}", "--image-pull-policy=Never", "--restart=Never", "--", "sleep", "1000"
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert "Seccomp:\t2" in cluster.kubectl("exec", "web", "--", "cat", "/proc/1/status")
    uid = cluster.get("pod", "web")["metadata"]["uid"]
    limits = [path.read_text().strip() for path in Path("/sys/fs/cgroup").rglob(f"*pod{uid}/pids.max")]
    assert limits == ["64"]
    token = cluster.kubectl("exec", "web", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert claims["exp"] - claims["iat"] <= 3607


def test_a_kernel_that_is_not_set_for_kubelets(own_cluster: Callable[..., Cluster]) -> None:
    cluster, wrong = own_cluster("--protect-kernel-defaults"), wrong_kernel_settings()
    if not wrong:
        cluster.start()
        return
    cluster.start(wait=False)
    assert cluster.process is not None
    assert cluster.process.wait(30) == 1
    last = cluster.log.read_text().splitlines()[-1]
    assert all(item in last for item in wrong) and "set them in /etc/sysctl.d" in last


WHO = """
apiVersion: v1
kind: List
items:
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata: {name: who}
  spec:
    matchConstraints:
      namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
      resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
    validations: [{expression: "false", messageExpression: "'refused to ' + request.userInfo.username"}]
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata: {name: who}
  spec: {policyName: who, validationActions: [Deny]}
"""


def test_control_loops_act_under_accounts_of_their_own(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "-f", "-", stdin=WHO.replace("NAMESPACE", namespace))
    try:
        pod = ("-n", namespace, "run", "p", f"--image={IMAGE}", "--dry-run=server")
        wait_until("the policy holds", lambda: "refused to system:admin" in cluster.kubectl(*pod, check=False))
        cluster.kubectl("-n", namespace, "create", "deployment", "d", f"--image={IMAGE}")
        cluster.kubectl("-n", namespace, "create", "job", "j", f"--image={IMAGE}")

        def refused() -> bool:
            said = cluster.kubectl("-n", namespace, "get", "events", "-o", "jsonpath={.items[*].message}")
            accounts = ("replicaset-controller", "job-controller")
            return all(f"refused to system:serviceaccount:kube-system:{account}" in said for account in accounts)

        wait_until("both controllers are told their names", refused)
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding/who", "validatingadmissionpolicy/who")
