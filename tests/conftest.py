"""For all tests: what has to stand in the environment before a library is imported."""

import os

# grpcio's fork handlers are on by default and crash a child of ``subprocess`` between fork and exec (SIGSEGV)
# while another thread is inside gRPC. ``minikube_py.cli`` turns them off for the product; tests reach the modules
# without passing there.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import hypothesis

# What a property test finds must not hang on how fast the machine is, and CI has to find the same each time.
hypothesis.settings.register_profile(
    "pyk3s",
    max_examples=50,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("pyk3s")
