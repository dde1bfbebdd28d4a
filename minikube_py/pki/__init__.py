"""Certificates, keys and tokens of a cluster.

``layout.ensure_pki`` creates or completes everything on disk, with the CAs of ``authorities``; ``renewal``
does so again in time while a server runs; ``rotation`` replaces keys and CAs on demand and ``inspection``
says what everything is worth. ``signing`` signs certificate requests; ``service_accounts`` signs and checks
service account tokens; ``join_tokens`` and ``kubeconfig`` write what administrators and agents read.
All functions here but ``Renewal.run`` block (files, keys): call them from a thread when an event loop runs.
"""

from minikube_py.pki.authorities import KeyPair
from minikube_py.pki.errors import PkiError
from minikube_py.pki.join_tokens import JoinToken, ensure_server_token, parse_join_token
from minikube_py.pki.kubeconfig import write_kubeconfig
from minikube_py.pki.layout import Pki, ensure_pki
from minikube_py.pki.service_accounts import ServiceAccountTokens, load_service_account_tokens
from minikube_py.pki.time_floor import TimeFloor

__all__ = [
    "JoinToken",
    "KeyPair",
    "Pki",
    "PkiError",
    "ServiceAccountTokens",
    "TimeFloor",
    "ensure_pki",
    "ensure_server_token",
    "load_service_account_tokens",
    "parse_join_token",
    "write_kubeconfig",
]
