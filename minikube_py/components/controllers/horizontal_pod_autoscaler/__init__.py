"""Scales what has a scale subresource by metrics (kube-controller-manager's horizontal-pod-autoscaler).

``controller`` is the loop; ``metrics`` reads the metrics APIs; ``replicas`` says how many replicas measured values ask
for, ``proposals`` does so for each kind of metric, ``rules`` keeps the answer within limits, windows and policies.
"""
