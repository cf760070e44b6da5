#!/usr/bin/env bash
# bench.sh - the end-to-end benchmark, beside native replication in the same run; prints the table that README quotes.
# Further arguments go to cargo bench: `scripts/bench.sh --bench micro`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need_rust
need_redis
if (($#)); then exec cargo bench --locked "$@"; fi
exec cargo bench --locked --bench end_to_end
