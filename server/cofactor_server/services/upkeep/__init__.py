"""What a serving process does beside serving: pruning, key rotation, the work loop."""
