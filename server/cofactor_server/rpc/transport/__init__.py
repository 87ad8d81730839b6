"""How calls come in: TLS, certificates, the in-process channel, gRPC-Web, reflection, and batching of calls."""
