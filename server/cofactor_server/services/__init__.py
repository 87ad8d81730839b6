"""The use cases, and the only place where transactions open."""
