#!/usr/bin/env bash
# faults.sh - the fault suite, all of it. `make faults` runs it.
#
#   faults.sh          every cell
#   faults.sh NAME     those whose names contain NAME; GUNYU_TEST_SEED=n brings a failure back
#
# A debug build: only there the program dies as ordered.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

need_rust
need_redis
need_etcd

if (($#)); then
  export GUNYU_CELL=$1
fi
GUNYU_FULL=1 exec cargo test --locked --test faults -- --nocapture
