"""What operators do: users, clients, authentication methods, tickets."""
