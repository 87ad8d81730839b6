"""Credentials, and proofs that are verified against them within rate limits."""
