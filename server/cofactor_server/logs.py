"""Configures logging: one line per event on standard error, without secrets."""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from cofactor_server.errors import TABLE

REDACTED = "[redacted]"

_SECRET = re.compile(
    r"secret|token|otp|code|passw|passphrase|authorization|bearer|cookie|credential|private|keyring|pem$|dsn|database_url"
)
_STATUSES = frozenset({row.grpc for row in TABLE.values()} | {"OK", "CANCELLED", "UNKNOWN"})


def configure(*, for_people: bool = False, level: int = logging.INFO) -> None:
    """Send the events of structlog and of the standard library to standard error.

    Args:
        for_people: Whether to write lines for people to read; otherwise JSON.
        level: The lowest level that is logged.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_messages,
        redacted,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if for_people else structlog.processors.JSONRenderer()
    )
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("uvicorn", "uvicorn.error", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


class _StandardError(logging.Handler):
    """Writes to the current `sys.stderr`, because tests and supervisors replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def redacted(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact the values of keys whose names suggest a secret, at any depth, except names of gRPC status codes."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


def without_messages(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Log an exception's type and stack positions, but not its message, which may quote request data."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    elif error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = f"{type(error).__module__}.{type(error).__qualname__}"
        frames = traceback.walk_tb(error.__traceback__)
        event["at"] = [f"{frame.f_code.co_filename}:{line}" for frame, line in frames]
    return event


def _clean(key: str, value: Any) -> Any:
    if _SECRET.search(str(key).lower()) and not (isinstance(value, str) and value in _STATUSES):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _clean(inner, held) for inner, held in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", item) for item in value]
    return value
