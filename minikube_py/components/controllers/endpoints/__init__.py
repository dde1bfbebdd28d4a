"""EndpointSlices and Endpoints of Services with selectors (``pkg/controller/endpointslice``, ``endpoint``)."""
