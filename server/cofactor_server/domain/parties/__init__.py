"""Who takes part: users, clients, APIs, operators, browsers, the relying party."""
