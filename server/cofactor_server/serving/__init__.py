"""Serving: listen addresses, the life of one process from ready to drained, supervision of several workers."""
