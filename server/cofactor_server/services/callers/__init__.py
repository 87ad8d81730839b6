"""Authenticates callers: clients, operators, and web origins."""
