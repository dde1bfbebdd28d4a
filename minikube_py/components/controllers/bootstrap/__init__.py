"""Bootstrap tokens: the cleaner of expired ones and the signer of ``cluster-info`` (``pkg/controller/bootstrap``)."""
