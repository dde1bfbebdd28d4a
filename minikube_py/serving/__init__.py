"""The parts of a server process, one module for each; ``minikube_py.server`` has the recipe that starts them."""
