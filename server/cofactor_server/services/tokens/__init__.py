"""Tokens: signed, sealed, refreshed, revoked and introspected."""
