"""The container runtime behind a typed seam (``types``), spoken to over CRI v1 (``cri``)."""
