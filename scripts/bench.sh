#!/usr/bin/env bash
# bench.sh - the benchmarks: end to end, beside native replication in the same run; rdb-load beside redis-cli --pipe; the least that fences cost; and what each room
# costs by itself.
# Each row is put into target/bench/results.json as soon as it is measured, in the place of the one of its name; at the end all rows there are, of earlier runs
# too, are printed as one table, which README quotes and target/bench/results.md holds.
# Further arguments go to cargo bench, and only those rows are measured: `scripts/bench.sh --bench micro`, `scripts/bench.sh --bench end_to_end -- latency live`,
# and with one-to-one behind them only those from one server to one server.
# GUNYU_BENCH_RESULTS names another folder, from here; GUNYU_BENCH_ROUNDS, _KEYS, _COMMANDS, _PROBES and _STILL_SECS make it smaller or larger.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need_rust
need_redis
if (($#)); then
  cargo bench --locked "$@"
else
  cargo bench --locked --bench end_to_end --bench load --bench fences --bench micro
fi
results=${GUNYU_BENCH_RESULTS:-target/bench}
if [[ -f $results/results.md ]]; then
  cat "$results/results.md"
  say "the same for programs: $results/results.json" >&2
fi
