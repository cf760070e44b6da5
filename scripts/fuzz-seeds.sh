#!/usr/bin/env bash
# fuzz-seeds.sh - begins a corpus with what real servers write: every type in every encoding that they have.
#
#   GUNYU_TEST_SERVERS=dir fuzz-seeds.sh FOLDER    writes FOLDER/TARGET/seed-* for every fuzz target
#
# Takes the servers dir/ID/bin/*-server, the redis-server on the path, and the files in tests/files/rdb. A server listens
# on a socket in a temporary folder, and on no port. What it does not know it refuses: such commands are there for others.
# Values that are made of more than bytes, such as those of modules, are not all there: fuzzing finds the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
(($# == 1)) || { echo "usage: fuzz-seeds.sh FOLDER" >&2; exit 2; }
folder=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT

# snapshot SERVER FILE
snapshot() {
  local dir socket
  dir=$(mktemp -d "$work/server.XXXXXX")
  socket=$dir/socket
  local options=(--port 0 --unixsocket "$socket" --dir "$dir" --save "" --appendonly no)
  if "$1" --version | grep -qE 'v=([7-9]|[1-9][0-9])'; then options+=(--enable-debug-command yes); fi
  "$1" "${options[@]}" >"$dir/log" 2>&1 &
  pid=$!
  for _ in {1..100}; do
    [[ $(redis-cli -s "$socket" PING 2>/dev/null) == PONG ]] && break
    kill -0 "$pid" 2>/dev/null || { echo "fuzz-seeds.sh: $1 does not start: $(tail -1 "$dir/log")" >&2; exit 1; }
    sleep 0.1
  done
  { cat tests/files/every_encoding.txt; echo SAVE; } | redis-cli -s "$socket" >"$dir/answers"
  kill "$pid"
  wait "$pid" || true
  pid=
  mv "$dir/dump.rdb" "$2"
}

files=(tests/files/rdb/*.rdb)
for server in "$(command -v redis-server)" "${GUNYU_TEST_SERVERS:-/nonexistent}"/*/bin/*-server; do
  [[ -x $server ]] || continue
  id=$(basename "$(dirname "$(dirname "$server")")")
  echo "$id"
  snapshot "$server" "$work/$id.rdb"
  files+=("$work/$id.rdb")
done
cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --example seeds -- "$folder" "${files[@]}"
