"""For all tests: what has to stand in the environment before a library is imported."""

import os

# grpcio's fork handlers are on by default and crash a child of ``subprocess`` between fork and exec (SIGSEGV)
# while another thread is inside gRPC. ``minikube_py.cli`` turns them off for the product; tests reach the modules
# without passing there.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
