"""Server reflection, v1 and v1alpha: which services there are, and the files that describe them.

The messages of both versions are the same on the wire, so one servicer answers both. `grpcio-reflection` has the
messages of v1alpha alone, and its servicer finds no method, field or enum value by its name.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2

_pb: Any = reflection_pb2  # its stubs know no members


def _derive_v1() -> ServiceDescriptor:
    """Return v1's service, made of v1alpha's file under another name.

    It is in a pool of its own: another library in this process may bring a file of that name.
    """
    alpha = FileDescriptorProto()
    _pb.DESCRIPTOR.CopyToProto(alpha)
    renamed = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    pool = descriptor_pool.DescriptorPool()
    file = pool.AddSerializedFile(text_format.Parse(renamed, FileDescriptorProto()).SerializeToString())
    return file.services_by_name["ServerReflection"]


V1: ServiceDescriptor = _derive_v1()
V1ALPHA: ServiceDescriptor = _pb.DESCRIPTOR.services_by_name["ServerReflection"]
VERSIONS = (V1, V1ALPHA)


class Reflection:
    """Answers about the files of some services, and of what these import.

    Args:
        services: What is served; also what `list_services` names.
    """

    def __init__(self, services: Sequence[ServiceDescriptor]) -> None:
        self._services = sorted(service.full_name for service in services)
        self._files: dict[str, FileDescriptor] = {}
        # Tools look up what the details of a status are.
        for file in (error_details_pb2.DESCRIPTOR, *(service.file for service in services)):
            self._files.update(_with_imports(file))
        self._symbols = {name: file for file in self._files.values() for name in _symbols(file)}
        self._extensions = {
            (extension.containing_type.full_name, extension.number): file
            for file in self._files.values()
            for extension in _extensions(file)
        }

    def register(self, target: grpc.aio.Server) -> None:
        """Serve both versions."""
        method = grpc.stream_stream_rpc_method_handler(
            self.answer_all,
            request_deserializer=_pb.ServerReflectionRequest.FromString,
            response_serializer=_pb.ServerReflectionResponse.SerializeToString,
        )
        for service in VERSIONS:
            handler = grpc.method_handlers_generic_handler(service.full_name, {"ServerReflectionInfo": method})
            target.add_generic_rpc_handlers((handler,))

    async def answer_all(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """Answer the requests of one stream, in their order."""
        async for request in requests:
            response = self._answer(request)
            response.valid_host = request.host
            response.original_request.CopyFrom(request)
            yield response

    def _answer(self, request: Any) -> Any:
        match request.WhichOneof("message_request"):
            case "file_by_filename":
                return self._describe(self._files.get(request.file_by_filename))
            case "file_containing_symbol":
                return self._describe(self._symbols.get(request.file_containing_symbol.lstrip(".")))
            case "file_containing_extension":
                wanted = request.file_containing_extension
                return self._describe(self._extensions.get((wanted.containing_type, wanted.extension_number)))
            case "all_extension_numbers_of_type":
                return self._number_extensions(request.all_extension_numbers_of_type)
            case "list_services":
                found = [_pb.ServiceResponse(name=name) for name in self._services]
                return _pb.ServerReflectionResponse(list_services_response=_pb.ListServiceResponse(service=found))
        return _refuse(grpc.StatusCode.INVALID_ARGUMENT)

    def _number_extensions(self, message: str) -> Any:
        if message not in self._symbols:
            return _refuse(grpc.StatusCode.NOT_FOUND)
        numbers = sorted(number for extended, number in self._extensions if extended == message)
        found = _pb.ExtensionNumberResponse(base_type_name=message, extension_number=numbers)
        return _pb.ServerReflectionResponse(all_extension_numbers_response=found)

    def _describe(self, file: FileDescriptor | None) -> Any:
        """Answer with a file and all that it imports, the file first."""
        if file is None:
            return _refuse(grpc.StatusCode.NOT_FOUND)
        files = [found.serialized_pb for found in _with_imports(file).values()]
        return _pb.ServerReflectionResponse(
            file_descriptor_response=_pb.FileDescriptorResponse(file_descriptor_proto=files)
        )


def _with_imports(file: FileDescriptor) -> dict[str, FileDescriptor]:
    found: dict[str, FileDescriptor] = {}
    pending = [file]
    while pending:
        one = pending.pop()
        if one.name not in found:
            found[one.name] = one
            pending += one.dependencies
    return found


def _refuse(code: grpc.StatusCode) -> Any:
    number, text = code.value
    return _pb.ServerReflectionResponse(error_response=_pb.ErrorResponse(error_code=number, error_message=text))


def _symbols(file: FileDescriptor) -> Iterable[str]:
    """Return the full name of whatever the file defines: types, fields, oneofs, enum values, services, methods."""
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (method.full_name for method in service.methods)
    for message in file.message_types_by_name.values():
        yield from _message_symbols(message)
    for enum in file.enum_types_by_name.values():
        yield from _enum_symbols(enum, file.package)
    yield from (extension.full_name for extension in file.extensions_by_name.values())


def _message_symbols(message: Descriptor) -> Iterable[str]:
    yield message.full_name
    for members in (message.fields, message.oneofs, message.extensions):
        yield from (member.full_name for member in members)
    for enum in message.enum_types:
        yield from _enum_symbols(enum, message.full_name)
    for nested in message.nested_types:
        yield from _message_symbols(nested)


def _enum_symbols(enum: EnumDescriptor, scope: str) -> Iterable[str]:
    """Return the enum and its values: these are named beside their enum, and some tools name them below it."""
    yield enum.full_name
    for value in enum.values:
        yield f"{scope}.{value.name}" if scope else value.name
        yield f"{enum.full_name}.{value.name}"


def _extensions(file: FileDescriptor) -> Iterable[Any]:
    yield from file.extensions_by_name.values()
    pending = [*file.message_types_by_name.values()]
    while pending:
        message = pending.pop()
        yield from message.extensions
        pending += message.nested_types
