"""What the words mean: frozen values and pure rules, on the standard library only."""
