"""Sends codes and notices to users, within rate limits."""
