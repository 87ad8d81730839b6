"""Stores credentials and verifies proofs against them, within rate limits."""
