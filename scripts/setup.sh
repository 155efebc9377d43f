#!/usr/bin/env bash
# Set up everything the project needs: .venv, the package with its tools, and ngspice with KLU.
# Safe to run again: what is there already is left alone.
#   PYTHON=python3.12 scripts/setup.sh   another interpreter (3.11 or newer)
#   SETUP_DRY_RUN=1                      print the commands that need the system's package manager
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

manual() {
    cat >&2 <<'HELP'
setup: ngspice with its shared library and the KLU solver (44 and 46 are known to have it) is needed. By hand:
  Debian 12     enable the bookworm-backports suite, then
                apt-get update && apt-get install -t bookworm-backports ngspice libngspice0
  Debian 13+    apt-get install ngspice libngspice0
  Ubuntu        apt-get install ngspice libngspice0   (24.04: check for KLU, else conda)
  Fedora        dnf install ngspice libngspice
  macOS         brew install ngspice libngspice
  conda         conda install -c conda-forge ngspice ngspice-lib
Then run this again. NGSPICE_LIBRARY_PATH names a library in an unusual place.
HELP
    exit 1
}

as_root() {
    if [ -n "${SETUP_DRY_RUN:-}" ]; then
        echo "$*"
    elif [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "neither root nor sudo: cannot run: $*"
        manual
    fi
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python make setup"
    exit 1
}

make_venv() {
    [ -x .venv/bin/pip ] && return
    local python
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        command -v apt-get >/dev/null || { say "install Python's venv module, then run again"; exit 1; }
        as_root apt-get update -q
        as_root apt-get install -y -q python3-venv
        "$python" -m venv --clear .venv
    fi
}

install_package() {
    local stamp
    stamp=".venv/.installed-$(cat pyproject.toml constraints.txt | cksum | tr -d ' ')"
    [ -e "$stamp" ] && return
    say "installing the package and its tools (some minutes the first time)"
    .venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
    rm -f .venv/.installed-*
    touch "$stamp"
}

# Solve a small circuit; fails without a library or without KLU.
probe() {
    .venv/bin/python -c 'from crossbar_sim.ngspice import NgspiceWorker as W
with W(time_limit=60) as w: print("setup: ngspice", w.probe().version, "with KLU,", w.library)'
}

# Debian 12 itself has an ngspice without KLU: add its backports suite, same mirror and keys.
add_backports() {
    local sources=${APT_DIRECTORY:-/etc/apt}
    grep -rqs "bookworm-backports" "$sources" && return
    if [ -e "$sources/sources.list.d/debian.sources" ]; then
        awk 'NF == 0 {exit} /^Suites:/ {$0 = "Suites: bookworm-backports"} {print}' \
            "$sources/sources.list.d/debian.sources" >/tmp/backports.$$
        as_root cp "/tmp/backports.$$" "$sources/sources.list.d/backports.sources"
    else
        awk '$1 == "deb" && / bookworm / {sub(" bookworm ", " bookworm-backports "); print; exit}' \
            "$sources/sources.list" >/tmp/backports.$$
        as_root cp "/tmp/backports.$$" "$sources/sources.list.d/backports.list"
    fi
    rm -f "/tmp/backports.$$"
}

install_ngspice() {
    command -v apt-get >/dev/null || manual
    local codename options=()
    codename=$(. "${OS_RELEASE:-/etc/os-release}" && echo "${VERSION_CODENAME:-}")
    if [ "$codename" = bookworm ]; then
        add_backports
        options=(-t bookworm-backports)
    fi
    as_root apt-get update -q
    as_root apt-get install -y -q "${options[@]}" ngspice libngspice0 || manual
}

make_venv
install_package
if ! probe 2>/dev/null; then
    say "installing ngspice"
    install_ngspice
    [ -n "${SETUP_DRY_RUN:-}" ] || probe || manual
fi
