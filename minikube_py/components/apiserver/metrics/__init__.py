"""What the API server counts of itself, under Kubernetes' names and with Kubernetes' labels and buckets.

One module for each room. The rooms count in plain numbers (``values``), and nothing is built, no timer runs and no
task wakes up until somebody scrapes; then ``exposition`` writes the text family by family.
"""
