"""Evaluates policy after a first factor: stored rules, registered APIs and the decision hook."""
