"""Server reflection as tools use it, over a real channel: v1 and v1alpha, every symbol of every service."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cofactor_server.rpc.server import SERVICES
from cofactor_server.rpc.transport.reflection import VERSIONS, Reflection
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import EnumDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from tests.unit.rpc.worlds import Edge, on_a_socket

pb: Any = reflection_pb2
V1, V1ALPHA = (service.full_name for service in VERSIONS)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with on_a_socket() as served:
        yield served


async def ask(channel: grpc.aio.Channel, version: str, *requests: Any) -> list[Any]:
    call = channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )(iter(requests), timeout=20)
    return [answer async for answer in call]


def files(answer: Any) -> list[FileDescriptorProto]:
    return [FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]


def symbols(service: ServiceDescriptor) -> Iterator[str]:
    """Names of a service, its methods, and all that its file defines; written apart from the server's own walk."""
    proto = FileDescriptorProto()
    service.file.CopyToProto(proto)

    def of_message(message: Any, scope: str) -> Iterator[str]:
        name = f"{scope}.{message.name}"
        yield name
        yield from (f"{name}.{member.name}" for member in [*message.field, *message.oneof_decl])
        yield from (f"{name}.{value.name}" for enum in message.enum_type for value in enum.value)
        for nested in message.nested_type:
            yield from of_message(nested, name)

    yield from (f"{service.full_name}.{method.name}" for method in service.methods)
    for message in proto.message_type:
        yield from of_message(message, proto.package)
    for enum in proto.enum_type:
        yield f"{proto.package}.{enum.name}"
        yield from (f"{proto.package}.{value.name}" for value in enum.value)


@pytest.mark.parametrize("version", [V1, V1ALPHA])
async def test_both_versions_list_every_service_and_each_other(edge: Edge, version: str) -> None:
    (answer,) = await ask(edge.channel, version, pb.ServerReflectionRequest(list_services=""))

    listed = {service.name for service in answer.list_services_response.service}
    assert {*(service.full_name for service in SERVICES), "grpc.health.v1.Health", V1, V1ALPHA} == listed


@pytest.mark.parametrize("version", [V1, V1ALPHA])
async def test_every_symbol_is_found_in_its_file(edge: Edge, version: str) -> None:
    wanted = [(name, service.file.name) for service in [*SERVICES, *VERSIONS] for name in symbols(service)]

    requests = [pb.ServerReflectionRequest(file_containing_symbol=name) for name, _ in wanted]
    answers = await ask(edge.channel, version, *requests)

    assert len(wanted) > 500
    assert [(answer.original_request.file_containing_symbol, files(answer)[0].name) for answer in answers] == wanted


async def test_a_file_comes_with_all_that_it_imports(edge: Edge) -> None:
    (answer,) = await ask(edge.channel, V1, pb.ServerReflectionRequest(file_by_filename="cofactor/v1/tokens.proto"))

    pool = descriptor_pool.DescriptorPool()
    pending = {file.name: file for file in files(answer)}
    assert next(iter(pending)) == "cofactor/v1/tokens.proto"
    while pending:
        file = next(file for file in pending.values() if not pending.keys() & set(file.dependency))
        pool.Add(pending.pop(file.name))
    assert "IssueToken" in pool.FindServiceByName("cofactor.v1.TokenService").methods_by_name


async def test_the_details_of_a_status_are_described(edge: Edge) -> None:
    (answer,) = await ask(edge.channel, V1, pb.ServerReflectionRequest(file_containing_symbol="google.rpc.ErrorInfo"))

    assert files(answer)[0].name == "google/rpc/error_details.proto"


async def test_what_does_not_exist_is_not_found_and_the_stream_goes_on(edge: Edge) -> None:
    extension = pb.ExtensionRequest(containing_type="cofactor.v1.Tokens", extension_number=1)
    answers = await ask(
        edge.channel,
        V1,
        pb.ServerReflectionRequest(file_containing_symbol="cofactor.v1.TokenService.Nothing"),
        pb.ServerReflectionRequest(file_by_filename="nothing.proto"),
        pb.ServerReflectionRequest(file_containing_extension=extension),
        pb.ServerReflectionRequest(all_extension_numbers_of_type="cofactor.v1.Nothing"),
        pb.ServerReflectionRequest(),
        pb.ServerReflectionRequest(all_extension_numbers_of_type="cofactor.v1.Tokens"),
    )

    not_found, invalid = grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert [answer.error_response.error_code for answer in answers] == [*[not_found] * 4, invalid, 0]
    assert list(answers[-1].all_extension_numbers_response.extension_number) == []


async def test_extensions_are_found_by_what_they_extend() -> None:
    pool = descriptor_pool.DescriptorPool()
    base = FileDescriptorProto(name="base.proto", package="t", syntax="proto2")
    message = base.message_type.add(name="Base")
    message.extension_range.add(start=100, end=200)
    base.extension.add(name="note", number=107, label=1, type=9, extendee=".t.Base")
    inner = base.message_type.add(name="Inner")
    inner.extension.add(name="deep", number=101, label=1, type=9, extendee=".t.Base")
    base.service.add(name="Things")
    service = pool.AddSerializedFile(base.SerializeToString()).services_by_name["Things"]
    reflection = Reflection([service])

    async def requests() -> AsyncIterator[Any]:
        yield pb.ServerReflectionRequest(all_extension_numbers_of_type="t.Base")
        for number in (107, 101):
            extension = pb.ExtensionRequest(containing_type="t.Base", extension_number=number)
            yield pb.ServerReflectionRequest(file_containing_extension=extension)
        for name in ("t.note", "t.Inner.deep"):
            yield pb.ServerReflectionRequest(file_containing_symbol=name)

    numbers, *found = [answer async for answer in reflection.answer_all(requests(), None)]

    assert list(numbers.all_extension_numbers_response.extension_number) == [101, 107]
    assert [files(answer)[0].name for answer in found] == ["base.proto"] * 4


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
async def test_buf_calls_a_method_that_it_knows_by_reflection_alone(edge: Edge, protocol: str) -> None:
    buf = Path(sys.executable).parent / "buf"
    options = ["--protocol", "grpc", "--http2-prior-knowledge", "--reflect", "--reflect-protocol", protocol]
    command = [str(buf), "curl", *options, f"http://127.0.0.1:{edge.port}/cofactor.v1.TokenService/GetJsonWebKeySet"]

    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=50, check=False)

    assert (done.returncode, '"kid"' in done.stdout) == (0, True), done.stderr


def test_enum_values_are_named_beside_their_enum_and_below_it() -> None:
    enum: EnumDescriptor = next(enum for service in SERVICES for enum in service.file.enum_types_by_name.values())
    known = Reflection([*SERVICES])._symbols

    assert f"{enum.full_name.rpartition('.')[0]}.{enum.values[0].name}" in known
    assert f"{enum.full_name}.{enum.values[0].name}" in known
