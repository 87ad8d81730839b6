"""What serves: where it listens, one process from ready to drained, several that are watched over."""
