"""The node's side of exec, attach, port-forward and logs: handlers that the node API mounts.

- ``serve_exec(request, runtime, container_id)``, ``serve_attach(request, runtime, container_id)``,
  ``serve_port_forward(request, runtime, sandbox_id)``: accept WebSocket and SPDY/3.1 upgrades and
  carry them to the runtime's streaming server, which speaks SPDY/3.1. SPDY clients and port-forward
  tunnels are relayed byte by byte; WebSocket channels are translated.
- ``serve_logs(request, path, ...)``: a container's log file as the client asked for it.

Query parameters are the kubelet's: ``command``, ``input``/``output``/``error``/``tty`` (those of the
API server, ``stdin``/``stdout``/``stderr``, are understood too), ``port``/``ports``, and PodLogOptions.
"""

from minikube_py.components.kubelet.streaming.execute import serve_attach, serve_exec
from minikube_py.components.kubelet.streaming.logs import LogOptions, log_options, serve_logs
from minikube_py.components.kubelet.streaming.port_forward import serve_port_forward

__all__ = ["LogOptions", "log_options", "serve_attach", "serve_exec", "serve_logs", "serve_port_forward"]
