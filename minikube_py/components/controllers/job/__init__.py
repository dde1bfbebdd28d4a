"""Jobs: pods that run to completion (``pkg/controller/job``)."""
