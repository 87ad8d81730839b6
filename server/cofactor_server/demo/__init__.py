"""`cofactor demo`: all features on, for this machine only (ADR-12). Only `cli` imports this package."""

from cofactor_server.demo.running import run
from cofactor_server.demo.written import Demo, read

__all__ = ["Demo", "read", "run"]
