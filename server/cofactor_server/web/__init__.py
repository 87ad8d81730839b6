"""The hosted page on which somebody enrolls by a ticket: files of our own and their routes."""
