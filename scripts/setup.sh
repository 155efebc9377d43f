#!/usr/bin/env bash
# Set up what the project needs: ngspice with KLU, .venv, and the package with its tools.
# Safe to run again: what is there already is left alone.
#   scripts/setup.sh run                 only what a run needs; without "run" also all extras and tools
#   PYTHON=python3.12 scripts/setup.sh   another interpreter (3.11 or newer)
#   TORCH=index scripts/setup.sh         torch as the package index has it, on Linux often with CUDA;
#                                        TORCH=cu128 (or another backend that uv knows): for a GPU;
#                                        the default is TORCH=cpu
#   SETUP_DRY_RUN=1                      print the commands that need the system's package manager
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

case "$what" in
    run | all) ;;
    *) fail "expected 'run', 'all' or nothing; got '$what'" ;;
esac

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

# Run a command as the administrator; where that cannot be, say what to ask one for, and how to do without.
as_root() {
    if [ -n "${SETUP_DRY_RUN:-}" ]; then
        echo "$*"
    elif [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs an administrator, and there is no sudo. Ask one to run:"
        say "    ${ask:-$*}"
        say "or do without one: $instead"
        exit 1
    fi
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python make setup"
}

# Debian and Ubuntu ship Python without what makes environments.
need_venv_module() {
    "$python" -c 'import venv, ensurepip' 2>/dev/null && return
    local version ask instead
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    say "$python has no venv module, which makes the environment that everything is installed into"
    command -v apt-get >/dev/null || fail "install the venv module of $version, then run this again"
    ask="apt-get install $version-venv"
    instead="take a Python that has it (conda, pyenv): PYTHON=/path/to/python make setup"
    as_root apt-get update -q
    as_root apt-get install -y -q "$version-venv"
}

# The path of an ngspice library, looked for without any Python package.
ngspice_library() {
    local file
    if [ -n "${NGSPICE_LIBRARY_PATH:-}" ]; then
        echo "$NGSPICE_LIBRARY_PATH"
        return
    fi
    for file in "$PWD"/.venv/lib/libngspice.so* "${CONDA_PREFIX:-/nowhere}"/lib/libngspice.{so,dylib}* \
        /opt/homebrew/lib/libngspice*.dylib /usr/local/lib/libngspice.{so,dylib}*; do
        [ -e "$file" ] && { echo "$file"; return; }
    done
    { PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true; } | awk '/libngspice\.so/ {print $NF; exit}'
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

# Before anything is downloaded: whoever cannot have ngspice should not first spend minutes and gigabytes.
need_ngspice() {
    local library codename options=() ask instead
    library=$(ngspice_library)
    [ -n "$library" ] && grep -qas "KLU Direct Linear Solver" "$library" && return
    say "installing ngspice: ${library:-no library found}${library:+ is not one with the KLU solver}"
    command -v apt-get >/dev/null || manual
    codename=$(. "${OS_RELEASE:-/etc/os-release}" && echo "${VERSION_CODENAME:-}")
    ask="apt-get install ngspice libngspice0"
    instead="conda install -c conda-forge ngspice ngspice-lib, and run this in that environment"
    if [ "$codename" = bookworm ]; then
        options=(-t bookworm-backports)
        ask="apt-get install -t bookworm-backports ngspice libngspice0   (with that suite enabled)"
        add_backports
    fi
    as_root apt-get update -q
    as_root apt-get install -y -q "${options[@]}" ngspice libngspice0 || manual
}

make_venv() {
    [ -x .venv/bin/pip ] && return
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/pip install --quiet --upgrade pip
}

# On Linux the package index has torch with CUDA, four gigabytes more; uv knows where its CPU build is.
install_torch() {
    [ -n "$(find .venv/lib* -maxdepth 4 -type d -name torch -print -quit)" ] && return
    local wanted backend=${TORCH:-cpu}
    wanted=$(grep '^torch==' constraints.txt)
    say "installing $wanted (TORCH=$backend; TORCH=index or TORCH=cu128 for other builds)"
    if [ "$backend" = index ] || { [ "$backend" = cpu ] && index_has_cpu_build "$wanted"; }; then
        .venv/bin/pip install --quiet --constraint constraints.txt "$wanted"
    else
        .venv/bin/pip install --quiet uv
        .venv/bin/uv pip install --quiet --python .venv/bin/python --torch-backend "$backend" "$wanted"
    fi
}

index_has_cpu_build() {
    ! .venv/bin/pip install --quiet --dry-run --report - --constraint constraints.txt "$1" 2>/dev/null |
        grep -q '"name": "nvidia-'
}

install_package() {
    local stamp target=.
    [ "$what" = all ] && target='.[dev]'
    stamp=".venv/.installed-$what-$(cat pyproject.toml constraints.txt | cksum | tr -d ' ')"
    { [ -e "$stamp" ] || [ -e "${stamp/-run-/-all-}" ]; } && return
    say "installing the package for '$what' (some minutes the first time)"
    .venv/bin/pip install --quiet --constraint constraints.txt --editable "$target"
    rm -f .venv/.installed-*
    touch "$stamp"
}

# Solve a small circuit with the library that the package finds; fails without KLU.
probe() {
    .venv/bin/python -c 'from crossbar_sim.ngspice.worker import NgspiceWorker as W
with W(time_limit=60) as w: print("setup: ngspice", w.probe().version, "with KLU,", w.library)'
}

find_python
need_venv_module
need_ngspice
[ -n "${SETUP_DRY_RUN:-}" ] && exit
make_venv
install_torch
install_package
probe || manual
.venv/bin/python -m crossbar_sim.pipeline.warm_up
