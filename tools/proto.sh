#!/usr/bin/env bash
# Writes the Python code of protos/ into clients/python; with --check only tells whether it is up to date.
# mypy-protobuf runs without only_sync or only_async: a stub takes a grpc.Channel or a grpc.aio.Channel, and with the
# second it types as FooAsyncStub; a servicer's methods may be plain or async.
set -euo pipefail
cd "$(dirname "$0")/.."
root=clients/python
want=$(mktemp -d) have=$(mktemp -d)
trap 'rm -rf "$want" "$have"' EXIT

generated() { (cd "$root" && find cofactor -path '*/__pycache__' -prune -o -name '*_pb2*.py*' -print); }

mapfile -t protos < <(find protos -name '*.proto' | LC_ALL=C sort)
[ ${#protos[@]} -gt 0 ] || { echo "proto: no .proto below protos/, nothing to generate"; exit 0; }
PATH="$PWD/.tools/proto/bin:$PATH" .tools/proto/bin/python -m grpc_tools.protoc -Iprotos \
    --python_out="$want" --grpc_python_out="$want" --mypy_out=quiet:"$want" --mypy_grpc_out=quiet:"$want" "${protos[@]}"

if [ "${1:-}" = --check ]; then
    generated | tar -C "$root" -cf - -T - | tar -C "$have" -xf -
    diff -r "$have" "$want" >/dev/null || {
        diff -rq "$have" "$want" | sed "s#$have#committed#; s#$want#generated#" >&2
        echo "proto: the generated code is not that of protos/; run make proto" >&2
        exit 1
    }
    echo "proto: the generated code is up to date"
else
    generated | while read -r file; do rm "$root/$file"; done  # also those of a .proto that is gone
    cp -R "$want/cofactor" "$root/"
fi
