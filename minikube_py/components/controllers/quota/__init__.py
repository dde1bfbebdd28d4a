"""What ResourceQuotas count (``pkg/controller/resourcequota``, ``pkg/quota/v1``)."""
