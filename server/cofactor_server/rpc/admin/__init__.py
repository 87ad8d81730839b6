"""cofactor.admin.v1: what operators do, on an address of its own."""
