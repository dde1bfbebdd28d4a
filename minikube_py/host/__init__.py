"""The machine itself: running its programs. Knows nothing of Kubernetes."""
