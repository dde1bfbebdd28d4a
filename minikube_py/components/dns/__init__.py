"""Cluster DNS: answers cluster.local from the API, forwards everything else.

``run_dns`` binds the cluster DNS Service's address itself (added to the loopback interface) on
port 53, UDP and TCP: pods reach it without address translation, so neither connection tracking nor
the proxy is in the way of a look-up. Every node runs its own.
"""

from __future__ import annotations

from minikube_py.components.dns.component import DnsSettings, run_dns

__all__ = ["DnsSettings", "run_dns"]
