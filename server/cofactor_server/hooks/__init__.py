"""gRPC clients of services that the operator runs, such as the decision hook."""
