"""Streams of the official Python client on a running pod: ``python_streams.py KUBECONFIG NAMESPACE POD``."""

from __future__ import annotations

import sys
from typing import Any

from kubernetes import client, config, watch
from kubernetes.stream import portforward, stream


def executing(core: Any, namespace: str, pod: str) -> None:
    said = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["sh", "-c", "echo out; echo err >&2"],
        stdout=True, stderr=True, stdin=False, tty=False,
    )  # fmt: skip
    assert sorted(said.split()) == ["err", "out"], said
    talk = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["sh"], stdin=True, stdout=True, stderr=True,
        tty=False, _preload_content=False,
    )  # fmt: skip
    for number in range(3):
        talk.write_stdin(f"echo answer {number}\n")
        assert talk.readline_stdout(timeout=10) == f"answer {number}"
    talk.write_stdin("exit 7\n")
    talk.run_forever(timeout=10)
    assert talk.returncode == 7, talk.returncode
    talk.close()
    try:
        stream(core.connect_get_namespaced_pod_exec, "none", namespace, command=["true"], stdout=True)
    except client.ApiException as error:
        assert "404" in str(error.reason) or error.status == 404, error
    else:
        raise AssertionError("executed in a pod that does not exist")


def forwarding(core: Any, namespace: str, pod: str) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports="8080")
    connection = forward.socket(8080)
    connection.settimeout(10)
    connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    answer = b""
    while data := connection.recv(4096):
        answer += data
    connection.close()
    assert answer.endswith(b"served by the pod\n"), answer
    assert forward.error(8080) is None


def logs(core: Any, namespace: str, pod: str) -> None:
    assert core.read_namespaced_pod_log(pod, namespace, tail_lines=1).strip() == "line 3"
    follower = watch.Watch()
    followed = []
    for line in follower.stream(core.read_namespaced_pod_log, pod, namespace):
        followed.append(line)
        if len(followed) == 3:
            follower.stop()
    assert followed == ["line 1", "line 2", "line 3"], followed


def main() -> None:
    config.load_kube_config(sys.argv[1])
    for work in (executing, forwarding, logs):
        work(client.CoreV1Api(), *sys.argv[2:])
    print("done")


if __name__ == "__main__":
    main()
