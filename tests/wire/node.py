"""An SDK for JavaScript, running in Node, as a test drives it."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

FOLDER = Path(__file__).parent / "js"
INSTALLED = FOLDER / "node_modules" / ".package-lock.json"


class SdkError(Exception):
    """An exception of the SDK; `said` is what an application can look at."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(f"{said['name']}: {said['message']}")
        self.said = said

    @property
    def literals(self) -> tuple[str | None, str | None]:
        """`error` and `error_description` of the answer, as the SDK hands them on."""
        source = self.said.get("cause") or self.said
        return source.get("error"), source.get("error_description")


class NodeClient:
    """One client object of the SDK; `call("mfa.verify", {...})` awaits the method and returns what it resolves to."""

    def __init__(self, driver: "Driver", name: str) -> None:
        self._driver = driver
        self._name = name

    def call(self, path: str, *given: Any) -> Any:
        """Call a method.

        Raises:
            SdkError: It throws.
        """
        return self._driver.ask({"call": [self._name, *path.split(".")], "with": given})


class Driver:
    """The process that holds the SDK."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @classmethod
    @contextmanager
    def running(cls, sdk: str, authority: Path) -> Iterator[Self]:
        """Start Node with an SDK, which trusts one more certificate authority.

        Args:
            sdk: `auth-js` or `spa-js`.
            authority: PEM file.
        """
        assert INSTALLED.exists(), "the SDKs for JavaScript are not installed: run `make .venv`"
        with subprocess.Popen(
            [os.environ.get("NODE", "node"), str(FOLDER / "driver.mjs"), sdk],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(authority)},
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(timeout=10) == 0

    def make(self, name: str, **options: Any) -> NodeClient:
        """Construct an object of a class that the SDK exports."""
        return NodeClient(self, self.ask({"make": name, "options": options}))

    def ask(self, request: dict[str, Any]) -> Any:
        """Send one request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the SDK's process has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise SdkError(answer["error"])
        return answer["value"]
