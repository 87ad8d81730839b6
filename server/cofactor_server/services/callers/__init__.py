"""Who calls: clients, operators, and web origins."""
