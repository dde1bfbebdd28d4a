"""The registry: what creating, changing and deleting an object means, for every kind alike."""
