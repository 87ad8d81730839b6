"""Authenticators over their life: enrolled, confirmed, listed, renamed, removed, imported."""
