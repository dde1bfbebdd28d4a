"""Service proxy: Services in one nftables table (kube-proxy's behaviour).

``model`` derives what must be reachable from Services and EndpointSlices, ``compiler`` turns that
into a rule set, ``differ`` into the smallest transaction, ``component`` applies it.
"""

from __future__ import annotations

from minikube_py.components.proxy.component import ProxySettings, remove_proxy, run_proxy

__all__ = ["ProxySettings", "remove_proxy", "run_proxy"]
