"""Cofactor: a self-hosted multi-factor authentication service."""
