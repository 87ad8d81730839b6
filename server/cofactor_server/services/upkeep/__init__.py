"""Background work of a serving process: pruning, key rotation, and the loop that runs it."""
