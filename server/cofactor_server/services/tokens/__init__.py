"""Signs, seals, refreshes, revokes and introspects tokens."""
