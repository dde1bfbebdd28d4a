"""StatefulSets: pods with a name and storage of their own (``pkg/controller/statefulset``)."""
