"""What every use case shares: decide in a transaction, read, repeat safely, check validity, record who did it."""
