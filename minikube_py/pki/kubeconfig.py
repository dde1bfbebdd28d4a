"""Kubeconfig files: how clients find the API and prove who they are."""

from __future__ import annotations

import base64
from pathlib import Path

from minikube_py.pki.authorities import KeyPair
from minikube_py.pki.files import private_file_mode, read_file, write_file


def write_kubeconfig(
    path: Path | str,
    *,
    server: str,
    ca_certificate: Path,
    client: KeyPair | None = None,
    token: str = "",
    name: str = "default",
    mode: int = private_file_mode,
) -> bool:
    """Write a self-contained kubeconfig for ``server`` (a URL); returns whether the file changed.

    Missing parent directories are created. Raises OSError.
    """
    path = Path(path)
    content = render_kubeconfig(server=server, ca_certificate=ca_certificate, client=client, token=token, name=name)
    if read_file(path) == content:
        path.chmod(mode)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content, mode)
    return True


def render_kubeconfig(
    *, server: str, ca_certificate: Path, client: KeyPair | None = None, token: str = "", name: str = "default"
) -> bytes:
    """The file's content: YAML with everything embedded, in the order kubectl writes it."""
    lines = [
        "apiVersion: v1",
        "clusters:",
        "- cluster:",
        f"    certificate-authority-data: {_embed(ca_certificate)}",
        f"    server: {server}",
        f"  name: {name}",
        "contexts:",
        "- context:",
        f"    cluster: {name}",
        f"    user: {name}",
        f"  name: {name}",
        f"current-context: {name}",
        "kind: Config",
        "preferences: {}",
        "users:",
        f"- name: {name}",
    ]
    if client is None and not token:
        lines.append("  user: {}")
    else:
        lines.append("  user:")
    if client is not None:
        lines.append(f"    client-certificate-data: {_embed(client.certificate)}")
        lines.append(f"    client-key-data: {_embed(client.key)}")
    if token:
        lines.append(f"    token: {token}")
    return ("\n".join(lines) + "\n").encode()


def _embed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
