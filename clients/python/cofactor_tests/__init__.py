"""The Python client against a live server: its rows, and what a fault does to it."""
