"""What a real browser does with what the server says."""
