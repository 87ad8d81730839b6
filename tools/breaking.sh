#!/usr/bin/env bash
# Does protos/ break those who use the contract? Compared with the last release, else with what was last published:
# a comparison with HEAD would find nothing in CI.
set -euo pipefail
cd "$(dirname "$0")/.."
buf=.venv/bin/buf

commit() { git rev-parse --quiet --verify "$1^{commit}" 2>/dev/null || true; }

head=$(commit HEAD)
base=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD~1 2>/dev/null || true)
if [ -z "$base" ]; then
    base=$(commit refs/remotes/origin/main)
    [ "$base" != "$head" ] || base=$(commit HEAD~1)
fi
if [ -z "$base" ] || ! git cat-file -e "$base:protos" 2>/dev/null; then
    echo "breaking: nothing published to compare with"
    exit 0
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" protos | tar -C "$old" -xf -
cp buf.yaml "$old/"  # today's rules and layout
if [ -z "$(find "$old/protos" -name '*.proto' -print -quit)" ]; then
    echo "breaking: nothing published to compare with"
    exit 0
fi
"$buf" breaking --against "$old"
echo "breaking: compatible with $base"
