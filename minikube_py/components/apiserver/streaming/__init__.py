"""Requests that the API server carries to a kubelet, a pod or a service endpoint."""
