"""What is kept secret and how: root keys, sealed tokens, encrypted columns, signing keys, passwords."""
