"""Challenges, and the prompts that devices show."""
