"""Challenges: created, answered and watched."""
