"""The gRPC edge: servicers, conversion, the table of callers, interceptors, and the in-process channel."""
