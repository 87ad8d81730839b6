#!/usr/bin/env bash
# Writes the committed code of protos/: Python's into clients/python, Go's into clients/go; with --check only tells
# whether it is up to date.
# mypy-protobuf runs without only_sync or only_async: a stub takes a grpc.Channel or a grpc.aio.Channel, and with the
# second it types as FooAsyncStub; a servicer's methods may be plain or async.
set -euo pipefail
cd "$(dirname "$0")/.."
want=$(mktemp -d) have=$(mktemp -d)
trap 'rm -rf "$want" "$have"' EXIT

generated() {
    find clients/python/cofactor clients/go/cofactor -path '*/__pycache__' -prune -o \
        \( -name '*_pb2*.py*' -o -name '*.pb.go' \) -print
}

mapfile -t protos < <(find protos -name '*.proto' | LC_ALL=C sort)
[ ${#protos[@]} -gt 0 ] || { echo "proto: no .proto below protos/, nothing to generate"; exit 0; }
python=$want/clients/python
mkdir -p "$python"
PATH="$PWD/.tools/proto/bin:$PATH" .tools/proto/bin/python -m grpc_tools.protoc -Iprotos \
    --python_out="$python" --grpc_python_out="$python" --mypy_out=quiet:"$python" --mypy_grpc_out=quiet:"$python" \
    "${protos[@]}"
PATH="$(dirname "${GO:-go}"):$PATH" .venv/bin/buf generate --output "$want"  # the generators' versions stand in clients/go/go.mod

if [ "${1:-}" = --check ]; then
    generated | tar -cf - -T - | tar -C "$have" -xf -
    diff -r "$have" "$want" >/dev/null || {
        diff -rq "$have" "$want" | sed "s#$have#committed#; s#$want#generated#" >&2
        echo "proto: the generated code is not that of protos/; run make proto" >&2
        exit 1
    }
    echo "proto: the generated code is up to date"
else
    generated | while read -r file; do rm "$file"; done  # also those of a .proto that is gone
    cp -R "$want/clients" .
fi
