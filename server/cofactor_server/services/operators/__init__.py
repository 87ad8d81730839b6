"""Operators' use cases: users, clients, authentication methods, tickets."""
