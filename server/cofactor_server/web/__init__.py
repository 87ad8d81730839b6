"""The hosted page for enrollment by ticket: its static files and routes."""
