"""The HTTP edge: a client of the gRPC API that answers in the shapes of Auth0's MFA API (docs/wire)."""
