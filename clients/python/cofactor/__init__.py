"""Client of Cofactor, a self-hosted multi-factor authentication service; the stubs are in `cofactor.v1`."""
