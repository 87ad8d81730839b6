"""Prepared statements, run by the driver itself: SQLAlchemy writes them, and keeps the connection."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NoReturn

from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError


class Prepared:
    """A statement as the driver takes it, compiled once.

    SQLAlchemy would look it up at each call, pass every parameter through its machinery and make each row an object
    with named columns: for the statements of a batch that costs more than running them.
    """

    __slots__ = ("_constants", "_in_order", "_names", "sql")

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql: str = compiled.string
        self._names = tuple(name.removeprefix("key_") for name in compiled.positiontup or ())
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._in_order = itemgetter(*self._names) if len(self._names) > 1 and not self._constants else None

    def arguments(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the statement's parameters in their order."""
        if self._in_order is not None:
            in_order: tuple[Any, ...] = self._in_order(values)
            return in_order
        constants = self._constants
        return tuple([values[name] if name in values else constants[name] for name in self._names])


class Driver:
    """The driver below a connection, in a transaction that SQLAlchemy began and will end.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.connection.cursor()

    def rows(self, statement: Prepared, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Return every row, by position."""
        try:
            self._cursor.execute(statement.sql, statement.arguments(values))
            found: Sequence[Sequence[Any]] = self._cursor.fetchall()
        except Exception as error:
            self._fail(error)
        return found

    def many(self, statement: Prepared, changed: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each."""
        try:
            self._cursor.executemany(statement.sql, [statement.arguments(values) for values in changed])
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """Give back what the driver holds."""
        self._cursor.close()

    def _fail(self, error: Exception) -> NoReturn:
        dialect = self._connection.dialect
        of_driver = dialect.loaded_dbapi.Error
        if not isinstance(error, of_driver):
            raise error
        lost = dialect.is_disconnect(error, self._connection.connection, self._cursor)
        if lost:
            self._connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, of_driver, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        ) from error
