#!/bin/sh
# Installs packages of Debian's where root runs it on Debian; elsewhere says in one line what is missing.
# Usage: tools/need.sh PACKAGE...
set -eu
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "This needs $* of your system (on Debian, as root: apt-get install $*)." >&2
    exit 1
fi
lock=${TMPDIR:-/tmp}/cofactor-apt.lock
export DEBIAN_FRONTEND=noninteractive
flock "$lock" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null' apt "$@"
