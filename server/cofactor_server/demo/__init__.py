"""`cofactor demo`: everything on, for this machine only (ADR-12). Imported by `cli` alone."""

from cofactor_server.demo.running import run
from cofactor_server.demo.written import Demo, read

__all__ = ["Demo", "read", "run"]
