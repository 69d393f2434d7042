"""The network guard: every request that a plugin sends to the outside goes through it.

``outbound`` opens it and sends requests; ``rules`` has its configuration, ``messages`` what is
sent and what comes back, ``errors`` what goes wrong. Nothing is imported here: a configuration
can be read without the libraries that requests need.
"""
