#!/usr/bin/env bash
# fuzz.sh - runs the fuzz targets, one after another. `make fuzz` runs it.
#
#   fuzz.sh SECONDS [TARGET]   each target (or this one) for so long, from fuzz/corpus and what earlier runs found
#   fuzz.sh keep [TARGET]      takes what runs have found into fuzz/corpus, as far as it adds something
#
# What is found lies in target/fuzz/corpus; an input that breaks something, in fuzz/artifacts. `make test` runs the
# corpus through the same checks, without a fuzzer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

usage() { echo "usage: fuzz.sh SECONDS|keep [TARGET]" >&2; exit 2; }
(($# == 1 || $# == 2)) || usage
work=$1
[[ $work == keep || $work =~ ^[0-9]+$ ]] || usage

need_rust
need g++ g++ "libFuzzer is C++"
need_cargo_fuzz

# Longer inputs hold nothing new, and the whole corpus is to stay below 1 MiB: tests/hostile.rs sees to that.
kept_bytes_max=700

mapfile -t targets < <(cargo fuzz list)
if (($# == 2)); then
  [[ " ${targets[*]} " == *" $2 "* ]] || { echo "fuzz.sh: no target $2; there are ${targets[*]}" >&2; exit 2; }
  targets=("$2")
fi

say "lints"
cargo fmt --check --manifest-path fuzz/Cargo.toml
cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --all-targets -- -D warnings

# No sanitizer: the stable toolchain has none. What is fuzzed has no unsafe code (`forbid(unsafe_code)` in src/lib.rs; the fuzz crate, which compiles
# the rooms, says the same), so that what a sanitizer could find is in other packages alone.
fuzz() {
  local what=$1
  shift
  cargo fuzz "$what" -s none --target-dir target/fuzz "$@"
}

broken=()
for target in "${targets[@]}"; do
  found=target/fuzz/corpus/$target kept=fuzz/corpus/$target
  mkdir -p "$found" "$kept"
  if [[ $work == keep ]]; then
    say "$target: keeping what adds something"
    find "$found" -type f -size "-$((kept_bytes_max + 1))c" -exec cp {} "$kept" \;
    # An input is kept for a branch that no other takes, not for how often it takes it: a third of the files.
    fuzz cmin "$target" "$kept" -- -max_len=$kept_bytes_max -use_counters=0
    continue
  fi
  say "$target, for $work s"
  fuzz run "$target" "$found" "$kept" -- -max_total_time="$work" -max_len=4096 -timeout=10 -rss_limit_mb=1024 ||
    broken+=("$target")
done

if ((${#broken[@]})); then
  say "BROKEN: ${broken[*]}"
  echo "The inputs are in fuzz/artifacts. Look at one with: cargo fuzz run -s none --target-dir target/fuzz TARGET FILE"
  exit 1
fi
