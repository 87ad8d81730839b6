"""Messages to users: codes and notices, with their rate limits."""
