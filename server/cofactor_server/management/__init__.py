"""The Management API in Auth0's shapes, for operators: a client of cofactor.admin.v1, on an address of its own."""
