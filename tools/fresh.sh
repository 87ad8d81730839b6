#!/usr/bin/env bash
# Runs README's commands, `make run` and `make test`, on a Debian system that has python3 and make and nothing else.
# By root. FRESH=full runs all tests and `make check`; otherwise those run that need most of the system, the browser's.
# The machine's ways to the package registries (settings of apt, pip, npm and others, certificates) go along.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${FRESH_SUITE:-bookworm}
http=${HTTP_PORT:-28080}
grpc=${GRPC_PORT:-25051}
[[ $(id -u) -eq 0 ]] || { echo "tools/fresh.sh makes a root file system, which takes root." >&2; exit 1; }
command -v mmdebstrap >/dev/null || tools/need.sh mmdebstrap
command -v git >/dev/null || tools/need.sh git

root=$(mktemp -d -t cofactor-fresh.XXXXXX)
chmod 755 "$root"
demo=
finish() {
    [[ -z $demo ]] || kill -- "-$demo" 2>/dev/null || true
    for folder in dev/shm dev proc; do
        ! mountpoint -q "$root/$folder" || umount -l "$root/$folder"
    done
    rm -rf --one-file-system "$root"
}
trap finish EXIT

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# --- a system ---------------------------------------------------------------------------------------------------
say "a system of python3 and make"
sources=(/etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list)
given=()
for file in "${sources[@]}"; do [[ ! -s $file ]] || given+=("$file"); done
options=()
for file in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf.d/*registry*; do
    [[ ! -s $file ]] || options+=(--aptopt="$file")
done
mmdebstrap --quiet --variant=minbase --include=python3,make,ca-certificates "${options[@]}" "$suite" "$root" "${given[@]}"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
for file in /etc/pip.conf "$HOME"/.npmrc "$HOME"/.config/{pip/pip.conf,uv/uv.toml,go/env} "$HOME"/.cargo/config.toml \
    "$HOME"/.m2/settings.xml; do
    if [[ -s $file ]]; then
        place=$root${file/#$HOME//root}
        mkdir -p "$(dirname "$place")"
        cp -L "$file" "$place"
    fi
done
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /dev/shm "$root/dev/shm"
git clone --quiet --no-hardlinks . "$root/root/cofactor"

variables=(LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
while IFS= read -r name; do
    variables+=("$name=${!name}")
done < <(compgen -e | grep -E '^(PIP|UV|NPM|npm|GOPROXY|GOSUMDB|GOFLAGS|CARGO_REGISTRIES|MAVEN)|CERT|CA_(BUNDLE|INFO)|_proxy$|_PROXY$' |
    grep -vE '^UV_PROJECT_ENVIRONMENT$')
# Each command is of a session of its own, so that it can be ended with all its children.
inside() { setsid chroot "$root" env -i HOME=/root "${variables[@]}" "$@"; }

# --- without root: one line says what is missing ----------------------------------------------------------------
say "make run by a user who cannot install packages"
inside useradd --create-home dev
cp -r "$root/root/cofactor" "$root/home/dev/cofactor"
inside chown -R dev: /home/dev/cofactor
as_dev() { inside setpriv --reuid=dev --regid=dev --clear-groups env HOME=/home/dev "$@"; }
if said=$(as_dev make -C /home/dev/cofactor run 2>&1); then
    echo "it started, although python3 lacks venv" >&2
    exit 1
fi
grep -F 'This needs python3-venv of your system' <<<"$said"

# --- make run ---------------------------------------------------------------------------------------------------
say "make run"
# The shell becomes the session's leader, so that its process id is the one of the group to end.
(exec setsid chroot "$root" env -i HOME=/root "${variables[@]}" \
    make -C /root/cofactor run HTTP_PORT="$http" GRPC_PORT="$grpc") &
demo=$!
for ((i = 0; i < 600; i++)); do
    if [[ -s $root/root/cofactor/.cofactor/demo.json ]] && python3 - "$http" <<'PY' 2>/dev/null; then
import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz", timeout=2)
PY
        break
    fi
    kill -0 "$demo" || { echo "make run ended" >&2; exit 1; }
    sleep 1
done
[[ $(stat -c %a "$root/root/cofactor/.cofactor/demo.json") == 600 ]]
say "make run answers"
kill -- "-$demo" 2>/dev/null || kill "$demo"
wait "$demo" 2>/dev/null || true
demo=

# --- make test --------------------------------------------------------------------------------------------------
if [[ ${FRESH:-} == full ]]; then
    say "make test"
    inside make -C /root/cofactor test
    say "make check"
    inside make -C /root/cofactor check
else
    say "make test, the browser's"
    inside make -C /root/cofactor test TEST_ARGS=tests/browser
fi

# --- by a user, once python3-venv and git are there --------------------------------------------------------------
say "make test, the browser's, by a user"
as_dev make -C /home/dev/cofactor test TEST_ARGS=tests/browser
say "done"
