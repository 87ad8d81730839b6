"""Services of the operator that this one asks over gRPC, as their client."""
