"""The Token endpoint: first factors, redemption of proofs, refresh, and explanations."""
