"""The life cycle of authenticators: enroll, confirm, list, rename, remove, import."""
