# need.sh - what the other scripts need from the machine: looked for, and installed where it is missing.
# Sourced, not run. Everything that is installed is announced first. Takes Debian's packages; elsewhere it says what
# to install by hand.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*"; }

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; return; fi
  command -v sudo >/dev/null || { echo "need: this takes root or sudo: $*" >&2; return 1; }
  sudo "$@"
}

# need COMMAND PACKAGE REASON
need() {
  local command=$1 package=$2 reason=$3
  command -v "$command" >/dev/null && return
  say "installing Debian's package $package: $reason"
  if ! command -v apt-get >/dev/null; then
    echo "need: no apt-get here; please install $package ($command) yourself: $reason" >&2
    return 1
  fi
  # With fresh lists a second time: those of a new machine are often missing or old.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" ||
    { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; }
  hash -r
  command -v "$command" >/dev/null || { echo "need: $package is installed, and yet there is no $command" >&2; return 1; }
}

need_rust() {
  if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
  command -v cargo >/dev/null || { echo "need: Rust is missing (cargo); see https://rustup.rs" >&2; return 1; }
  need cc gcc "Rust links with it, and one dependency is C"
}

# need_component NAME: a part of Rust that minimal installations leave out
need_component() {
  cargo "$1" --version >/dev/null 2>&1 && return
  say "installing cargo $1 with rustup"
  command -v rustup >/dev/null || { echo "need: cargo $1 is missing, and so is rustup, which would install it" >&2; return 1; }
  case $1 in fmt) rustup component add rustfmt ;; *) rustup component add "$1" ;; esac
}

need_redis() { need redis-server redis-server "the tests, the benchmarks and the demo start their own servers of it"; }
