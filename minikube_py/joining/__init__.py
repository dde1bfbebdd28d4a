"""How a worker becomes a node of a cluster that runs elsewhere, and stays one.

``cluster`` is what the server tells its nodes, ``trust`` how a worker gets to know the server, ``requests`` how it asks
for certificates, ``identity`` its files, ``bootstrap`` the first meeting, ``renewal`` everything after it. No key ever
leaves the host it was made on; the protocol is the kubelet's TLS bootstrap over the ordinary API.
"""
