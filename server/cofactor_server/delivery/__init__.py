"""Sends a message after commit: texts, providers, and what guards them."""
