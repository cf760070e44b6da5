#!/usr/bin/env bash
# profile.sh - how the release profile is chosen: the program built in variants of it, each into a folder of its own, and the processor time of the live stream and of a full
# sync measured with each.
# Arguments are variants, LTO-UNITS-PANIC: `scripts/profile.sh thin-1-unwind off-16-abort`; without any, all twelve: minutes of building for each.
# What measures is built once, as `make bench` builds it: cargo leaves the panic strategy out of what it builds for benchmarks, so the program comes from elsewhere.
# Rows go to target/profiles/results.json and results.md, whose table is printed at the end; size of the program and time of its build are told before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need_rust
need_redis

variants=("$@")
if ((!$#)); then
  for lto in off thin fat; do for units in 1 16; do for panic in unwind abort; do variants+=("$lto-$units-$panic"); done; done; done
fi
for variant in "${variants[@]}"; do
  [[ $variant =~ ^(off|thin|fat)-[0-9]+-(unwind|abort)$ ]] || { echo "profile: $variant is not LTO-UNITS-PANIC, as in thin-1-unwind" >&2; exit 2; }
done

programs=$PWD/target/profiles
for variant in "${variants[@]}"; do
  IFS=- read -r lto units panic <<<"$variant"
  say "building $variant" >&2
  began=$SECONDS
  CARGO_PROFILE_RELEASE_LTO=$lto CARGO_PROFILE_RELEASE_CODEGEN_UNITS=$units CARGO_PROFILE_RELEASE_PANIC=$panic \
    cargo build --locked --release --bin gunyu --target-dir "$programs/$variant"
  say "$variant: $((SECONDS - began)) s, $(stat -c %s "$programs/$variant/release/gunyu") bytes" >&2
done

for variant in "${variants[@]}"; do
  say "measuring $variant" >&2
  GUNYU_PROGRAM=$programs/$variant/release/gunyu GUNYU_BENCH_LABEL=$variant GUNYU_BENCH_RESULTS=$programs \
    cargo bench --locked --bench end_to_end -- live full_sync one-to-one
done
cat "$programs/results.md"
