"""Auth0's own SDKs, unmodified, against the REST edge over HTTPS."""
