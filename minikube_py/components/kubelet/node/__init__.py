"""The node itself: facts of the machine, the Node object, the lease, garbage collection, eviction."""
