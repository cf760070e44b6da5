#!/usr/bin/env bash
# bench.sh - the benchmarks: end to end, beside native replication in the same run; rdb-load beside redis-cli --pipe; and what each room costs by itself.
# Prints the tables that README quotes, and leaves them as JSON in target/bench.
# Further arguments go to cargo bench: `scripts/bench.sh --bench micro`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need_rust
need_redis
if (($#)); then exec cargo bench --locked "$@"; fi
exec cargo bench --locked --bench end_to_end --bench load --bench micro
