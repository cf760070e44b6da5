#!/usr/bin/env bash
# verify.sh - how many keys a second `gunyu verify` compares, and in how much memory: the figures that README quotes.
#
# Two local servers hold the same strings without expiry (VERIFY_KEYS, a million); each way of comparing is run three times. Everything lives in one
# temporary folder and on free loopback ports; nothing is left behind. The optimised program is built first; GUNYU=path names another.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh
need_redis
if [[ ! ${GUNYU:-} ]]; then
  need_rust
  cargo build --locked --release
  GUNYU=$(cargo metadata --format-version 1 --no-deps --locked | sed -nE 's/.*"target_directory":"([^"]*)".*/\1/p')/release/gunyu
fi
keys=${VERIFY_KEYS:-1000000}
[[ $keys =~ ^[0-9]+$ ]] || { echo "verify: VERIFY_KEYS is a whole number" >&2; exit 2; }

tmp=$(mktemp -d) pids=()
trap '((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$tmp"' EXIT

urls=()
for side in source target; do
  mkdir "$tmp/$side"
  for try in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    redis-server --port "$port" --bind 127.0.0.1 --dir "$tmp/$side" --save '' --appendonly no --enable-debug-command yes >"$tmp/$side/log" 2>&1 &
    pid=$!
    pids+=("$pid")
    for ((i = 0; i < 100; i++)); do
      [[ $(redis-cli -p "$port" info server 2>/dev/null) == *process_id:$pid* ]] && break 2
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.05
    done
    ((try < 5)) || { tail -n 5 "$tmp/$side/log" >&2; exit 1; }
  done
  redis-cli -p "$port" DEBUG POPULATE "$keys" key 100 >/dev/null
  urls+=("redis://127.0.0.1:$port")
done

for compare in length value; do
  for round in 1 2 3; do
    "$GUNYU" verify --source "${urls[0]}" --target "${urls[1]}" --compare "$compare" --json >"$tmp/said" &
    pid=$! most=0
    # The kernel keeps the most that was resident, as long as the process lives.
    while kill -0 "$pid" 2>/dev/null; do
      now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null || true)
      ((${now:-0} > most)) && most=$now
      sleep 0.02
    done
    wait "$pid"
    second=$(sed -nE 's/.*"keys_per_second":([0-9]+).*/\1/p' "$tmp/said")
    echo "$compare, round $round: $second keys a second, at most $((most / 1024)) MiB"
  done
done
