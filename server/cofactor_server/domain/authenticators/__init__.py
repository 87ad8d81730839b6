"""Authenticators, their kinds, the proofs they give, and the assurance these amount to."""
