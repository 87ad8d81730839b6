"""Runs the cases of clients/vectors.json, whose `about` says what each word of them means."""

import json
import re
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cofactor import client
from cofactor.client import Client, CofactorError, Credentials, bearer
from cofactor.testing.devices import AuthenticatorApp
from cofactor.testing.servers import Server
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

VECTORS: Mapping[str, Any] = json.loads((Path(__file__).parents[2] / "vectors.json").read_text())
CASES: Mapping[str, Mapping[str, Any]] = {case["name"]: case for case in VECTORS["cases"]}
_FILES = (tokens_pb2, challenges_pb2, authenticators_pb2)
_METHODS = {
    f"{service.name}/{method.name}": method
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_TOLD = ("client_id", "client_secret", "username", "password", "realm", "audience", "issuer")
_PLACEHOLDER = re.compile(r"\$\{(?:(totp|wrong):)?(\w+)\}")


class Case:
    """One case, with the names it keeps."""

    def __init__(self, server: Server, clients: Mapping[str, Client]) -> None:
        self._server = server
        self._clients = clients
        self._names = {name: str(getattr(server.demo, name)) for name in _TOLD}
        self._names["subject"] = uuid.uuid4().hex
        self._names["phone"] = f"+4420718{secrets.randbelow(10**5):05d}"

    def run(self, name: str) -> None:
        """Take the steps of a case; AssertionError says which one went wrong, and how."""
        case = CASES[name]
        prelude = VECTORS["preludes"][case["after"]] if "after" in case else []
        for number, step in enumerate([*prelude, *case["steps"]], 1):
            try:
                self._take(self._filled(step))
            except AssertionError as error:
                raise AssertionError(f"{name}, step {number}: {error}") from None

    def _take(self, step: Mapping[str, Any]) -> None:
        match step:
            case {"set": texts}:
                self._names.update(texts)
            case {"advance": int(seconds)}:
                self._server.clock.advance(seconds)
            case {"outbox": {"to": to}}:
                self._names["code"] = self._server.outbox.messages(to)[-1].code
            case {"rpc": rpc}:
                self._call(rpc, step)
            case _:
                raise AssertionError(f"no such step: {step}")

    def _call(self, rpc: str, step: Mapping[str, Any]) -> None:
        method = _METHODS[rpc]
        request = json_format.ParseDict(step.get("request", {}), GetMessageClass(method.input_type)())
        call = self._clients[step.get("client", "demo")].channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            response = call(request, metadata=bearer(step["bearer"]) if "bearer" in step else ())
        except CofactorError as error:
            assert "refused" in step, f"{rpc} failed: {error}"
            wanted = {"fields": [], "retry_delay": False, **step["refused"]}
            said = {
                "code": error.code.name,
                "reason": error.reason,
                "message": error.message,
                "fields": [violation.field for violation in error.violations],
                "retry_delay": bool(error.retry_delay),
            }
            assert wanted == {member: said[member] for member in wanted}, f"{rpc}: {error}"
            return
        assert "refused" not in step, f"{rpc} was not refused"
        found = json_format.MessageToDict(response)
        fits(step["expect"], found, rpc)
        for name, path in step.get("save", {}).items():
            self._names[name] = at(path, found)

    def _filled(self, value: Any) -> Any:
        match value:
            case str():
                return _PLACEHOLDER.sub(lambda found: self._placed(found[1], found[2]), value)
            case dict():
                return {name: self._filled(member) for name, member in value.items()}
            case list():
                return [self._filled(item) for item in value]
        return value

    def _placed(self, kind: str | None, name: str) -> str:
        if kind == "totp":
            return AuthenticatorApp(self._names[name], self._server.clock).code_at(self._server.clock.now())
        if kind == "wrong":
            digits = self._names[name]
            return f"{digits[:-1]}{(int(digits[-1]) + 1) % 10}"
        if name == "now":
            return datetime.fromtimestamp(self._server.clock.now(), UTC).isoformat().replace("+00:00", "Z")
        return self._names[name]


def fits(wanted: Any, found: Any, path: str) -> None:
    """Assert that something found holds at least what is wanted."""
    match wanted:
        case "*":
            assert found not in (None, "", [], {}), f"{path} is empty"
        case dict():
            assert isinstance(found, dict), f"{path} is {found!r}"
            for name, member in wanted.items():
                if member is None:
                    assert name not in found, f"{path}.{name} is there"
                else:
                    assert name in found, f"{path}.{name} is not there"
                    fits(member, found[name], f"{path}.{name}")
        case list():
            assert isinstance(found, list), f"{path} is {found!r}"
            assert len(found) == len(wanted), f"{path} has {len(found)} items"
            for number, item in enumerate(wanted):
                fits(item, found[number], f"{path}.{number}")
        case _:
            assert wanted == found, f"{path} is {found!r}, not {wanted!r}"


def at(path: str, found: Any) -> str:
    """Return what is found at a path, such as `recoveryCodes.0`."""
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    assert isinstance(found, str), f"{path} is no text"
    return found


def connected(server: Server) -> dict[str, Client]:
    """Return a client for each word that a case may name one by."""
    as_whom = {"demo": server.demo.credentials, "none": None, "unknown": Credentials("unknown", "unknown")}
    return {name: client.connect(server.demo.grpc, who, server.transport) for name, who in as_whom.items()}
