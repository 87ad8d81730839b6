"""`cofactor serve` as a process: what it refuses, how it stops, several workers."""

import asyncio
import json
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx2
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support import postgres
from tests.unit.cli.certificates import certificate
from tests.unit.cli.conftest import Invoke, Process, Start, line_of

pytestmark = pytest.mark.timeout(240)  # processes, on machines that do other things, too


def where(process: Process) -> dict[str, str]:
    process.says('"serving"')
    (line,) = [line for line in process.stderr.splitlines() if '"serving"' in line]
    told: dict[str, str] = json.loads(line)
    return told


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_it_serves_both_edges_and_stops(deployed: Invoke, start: Start) -> None:
    process = start("serve", COFACTOR_METRICS_LISTEN=f"127.0.0.1:{(metrics := free_port())}")
    told = where(process)
    assert httpx2.get(f"http://{told['http']}/.well-known/jwks.json").status_code == 200
    with grpc.insecure_channel(told["grpc"]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert "cofactor_rpc_calls_total" in httpx2.get(f"http://127.0.0.1:{metrics}/metrics").text
    assert '"totp: 1 in ' in process.stderr
    assert process.stop() == 0


@pytest.mark.requirement("S186")
@pytest.mark.parametrize(
    ("proxies", "told"),
    [("", True), ("10.0.0.0/8", True), ("127.0.0.1", False), ("127.0.0.0/8,10.0.0.0/8", False)],
)
def test_it_says_at_start_that_all_users_are_one_source(
    proxies: str, told: bool, deployed: Invoke, start: Start
) -> None:
    process = start("serve", **({"COFACTOR_TRUSTED_PROXIES": proxies} if proxies else {}))
    where(process)
    lines = [json.loads(line) for line in process.stderr.splitlines() if '"all users have one source"' in line]
    assert [(line["level"], len(line["at"])) for line in lines] == ([("warning", 2)] if told else [])
    assert all("COFACTOR_TRUSTED_PROXIES" in line["why"] for line in lines)


@pytest.mark.parametrize("only", ["http", "grpc"])
def test_it_serves_one_edge_alone(only: str, deployed: Invoke, start: Start) -> None:
    told = where(start("serve", "--only", only))
    assert [edge for edge in ("http", "grpc") if told[edge]] == [only]


def test_a_second_server_on_a_port_fails_with_one_line(
    deployed: Invoke, start: Start, environment: dict[str, str]
) -> None:
    first = where(start("serve"))
    for edge in ("http", "grpc"):
        environment[f"COFACTOR_{edge.upper()}_LISTEN"] = first[edge]
        assert line_of(deployed("serve")) == f"cofactor: {first[edge]}: address in use"
        environment[f"COFACTOR_{edge.upper()}_LISTEN"] = "127.0.0.1:0"


@pytest.mark.requirement("S58")
@pytest.mark.parametrize("edge", ["HTTP", "GRPC"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "mfa.example.com:0"])
def test_plaintext_that_others_can_reach_is_refused(
    edge: str, address: str, deployed: Invoke, environment: dict[str, str]
) -> None:
    environment[f"COFACTOR_{edge}_LISTEN"] = address
    assert "there is no TLS" in line_of(deployed("serve"))


def test_plaintext_behind_a_proxy_names_the_proxy(deployed: Invoke) -> None:
    assert "COFACTOR_TRUSTED_PROXIES" in line_of(deployed("serve", "--plaintext-behind-proxy"))


def test_certificates_that_cant_be_used_are_named(
    deployed: Invoke, environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"COFACTOR_TLS_CERT_FILE": str(tmp_path / "cert.pem"), "COFACTOR_TLS_KEY_FILE": str(tmp_path / "k")}
    assert "cert.pem" in line_of(deployed("serve"))


@pytest.mark.requirement("S58")
def test_both_edges_speak_tls_and_nothing_else_with_the_same_files(
    deployed: Invoke, start: Start, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path)
    told = where(start("serve", COFACTOR_TLS_CERT_FILE=str(cert), COFACTOR_TLS_KEY_FILE=str(key)))
    port = told["http"].rpartition(":")[2]
    trusting = ssl.create_default_context(cafile=str(cert))
    assert httpx2.get(f"https://localhost:{port}/.well-known/jwks.json", verify=trusting).status_code == 200
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://localhost:{port}/.well-known/jwks.json")
    target = f"localhost:{told['grpc'].rpartition(':')[2]}"
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(cert.read_bytes())) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_unix_sockets_are_served_and_removed(deployed: Invoke, start: Start, tmp_path: Path) -> None:
    http, rpc = tmp_path / "http", tmp_path / "grpc"
    process = start("serve", COFACTOR_HTTP_LISTEN=f"unix:{http}", COFACTOR_GRPC_LISTEN=f"unix:{rpc}")
    assert where(process)["grpc"] == f"unix:{rpc}"
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(http))) as client:
        assert client.get("http://mfa/.well-known/jwks.json").status_code == 200
    with grpc.insecure_channel(f"unix:{rpc}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert process.stop() == 0
    assert not http.exists()


@pytest.mark.parametrize("kind", ["sms", "voice", "email"])
def test_a_factor_whose_messages_nobody_carries_is_not_served(
    kind: str, deployed: Invoke, environment: dict[str, str]
) -> None:
    environment["COFACTOR_FACTORS"] = f"totp,{kind}"
    line = line_of(deployed("serve"))
    assert line == f"cofactor: COFACTOR_FACTORS: nothing carries {kind}; name a provider in COFACTOR_DELIVERY"


def test_several_workers_are_not_for_sqlite(deployed: Invoke) -> None:
    assert "COFACTOR_WORKERS" in line_of(deployed("serve", "--workers", "2"))


def test_an_unreachable_database_is_one_line(deployed: Invoke, start: Start) -> None:
    process = start("serve", COFACTOR_DATABASE_URL=f"postgresql://nobody:hunter2@127.0.0.1:{free_port()}/none")
    assert process.wait() == 1
    assert "the database can't be reached" in process.stderr
    assert "hunter2" not in process.stderr


async def test_a_dead_worker_is_replaced_and_all_stop_together(
    deployed: Invoke, start: Start, postgres_url: str, tmp_path: Path
) -> None:
    url = await postgres.create_database(postgres_url, "cli_workers")
    address = f"127.0.0.1:{free_port()}"
    process = start("serve", "--workers", "2", COFACTOR_DATABASE_URL=url, COFACTOR_HTTP_LISTEN=address)
    process.until(lambda: process.stderr.count('"serving"') == 2)
    assert len(_children(process)) == 2
    _children(process)[0].kill()
    process.until(lambda: process.stderr.count('"serving"') == 3)
    assert httpx2.get(f"http://{address}/.well-known/jwks.json").status_code == 200
    second = start("serve", "--workers", "2", COFACTOR_DATABASE_URL=url, COFACTOR_HTTP_LISTEN=address)
    assert second.wait() == 1
    assert "address in use" in second.stderr
    assert process.stop() == 0
    await postgres.drop_database(postgres_url, "cli_workers")


async def test_workers_do_not_outlive_who_started_them(deployed: Invoke, start: Start, postgres_url: str) -> None:
    url = await postgres.create_database(postgres_url, "cli_orphans")
    process = start("serve", "--workers", "2", COFACTOR_DATABASE_URL=url)
    process.until(lambda: process.stderr.count('"serving"') == 2)
    children = _children(process)
    process.stop(signal.SIGKILL)
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 60)
    assert not alive
    await postgres.drop_database(postgres_url, "cli_orphans")


def _children(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.running.pid).children()
