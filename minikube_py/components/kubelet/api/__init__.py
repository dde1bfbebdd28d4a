"""The node API (port 10250): what the API server, metrics collectors and debuggers ask of a kubelet."""
