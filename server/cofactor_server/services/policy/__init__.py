"""Policy: stored rules, registered APIs, the decision hook, and what follows a first factor."""
