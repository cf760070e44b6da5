#!/usr/bin/env bash
# demo.sh - two Redis servers, writers on the first, and gunyu making the second a live copy. `make demo` runs it.
#
# Runs until Ctrl-C, or for DEMO_SECONDS. Then the writers stop, gunyu catches up and stops, and both servers are compared;
# the exit code is 0 only if they hold the same. Everything lives in one temporary folder and on free
# loopback ports; no process and no folder is left behind.
#
#   DEMO_SECONDS=20    end by itself
#   DEMO_KEYS=50000    keys before gunyu starts
#   GUNYU=path         that program instead of a build of this folder
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

seconds=${DEMO_SECONDS:-} keys=${DEMO_KEYS:-50000}
[[ $seconds$keys =~ ^[0-9]+$ ]] || { echo "demo: DEMO_SECONDS and DEMO_KEYS are whole numbers" >&2; exit 2; }

tmp='' pids=() asked_to_stop=''

# Stops a process and waits for its end; kills it after ten seconds.
stop() {
  local pid=$1 tries
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((tries = 0; tries < 100; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

clean_up() {
  local code=$? i
  trap - EXIT; trap '' INT TERM
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do stop "${pids[i]}"; done
  [[ $tmp ]] && rm -rf "$tmp"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM # until there is something to end in order

# Starts a program that Ctrl-C does not reach (it ends when we end it) and that dies with us in any case. Its pid: $!
own_session=(setsid)
setpriv --pdeathsig TERM true 2>/dev/null && own_session+=(setpriv --pdeathsig TERM)
start() {
  local output=$1; shift
  "${own_session[@]}" "$@" >"$output" 2>&1 </dev/null &
  pids+=($!)
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# start_server NAME: sets port and pid. A server counts only if the one that answers is ours.
start_server() {
  local name=$1 try i debug=()
  [[ $(redis-server --version) =~ v=([0-9]+) ]] && ((BASH_REMATCH[1] >= 7)) && debug=(--enable-debug-command yes)
  for try in 1 2 3 4 5; do
    port=$(free_port)
    mkdir -p "$tmp/$name"
    start "$tmp/$name/log" redis-server --port "$port" --bind 127.0.0.1 --dir "$tmp/$name" --save '' --appendonly no \
      --repl-diskless-sync-delay 0 "${debug[@]}"
    pid=$!
    for ((i = 0; i < 100; i++)); do
      [[ $(redis-cli -p "$port" info server 2>/dev/null) == *process_id:$pid* ]] && return
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.05
    done
  done
  echo "demo: the $name server does not start (try $try):" >&2
  tail -n 5 "$tmp/$name/log" >&2
  exit 1
}

# What `redis-cli INFO SECTION` says about FIELD.
info() { redis-cli -p "$1" info "$2" | tr -d '\r' | sed -n "s/^$3://p"; }
key_count() { redis-cli -p "$1" info keyspace | awk -F'[=,]' '/^db/ { n += $2 } END { print n + 0 }'; }
databases() { redis-cli -p "$1" info keyspace | sed -nE 's/^db([0-9]+):.*/\1/p'; }

# GET /syncer/status, without any other program.
status() {
  {
    exec 3<>"/dev/tcp/127.0.0.1/$http" &&
      printf 'GET /syncer/status HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$http" >&3 &&
      timeout 5 cat <&3
  } 2>/dev/null || true
}
# field NAME JSON: the first value of that name, quotes taken off.
field() { sed -nE "s/.*\"$1\" *: *\"?([^\",}]*).*/\1/p" <<<"$2" | head -n 1; }

build() {
  if [[ ${GUNYU:-} ]]; then gunyu=$GUNYU; return; fi
  need_rust
  local folder
  folder=$(cargo metadata --format-version 1 --no-deps --locked | sed -nE 's/.*"target_directory":"([^"]*)".*/\1/p')
  gunyu=$folder/release/gunyu
  if [[ -x $gunyu && ! $(find src Cargo.toml Cargo.lock -newer "$gunyu" -print -quit) ]]; then
    say "using the optimised build that is already there: $gunyu"
    return
  fi
  say "building gunyu without optimisation (quicker to build; after 'make build' the demo takes the optimised one)"
  cargo build --locked
  gunyu=$folder/debug/gunyu
}

# Every type, times of expiry, two databases. One script call for each thousand keys.
load() {
  local script="
    for i = tonumber(ARGV[1]), ARGV[1] + 999 do
      local k, n = 'demo:' .. i, i % 10
      if n < 4 then redis.call('SET', k, 'value ' .. i)
      elseif n == 4 then redis.call('SET', k, string.rep('text ', 40), 'EX', 86400)
      elseif n == 5 then redis.call('HSET', k, 'name', 'n' .. i, 'size', i, 'note', string.rep('x', 70))
      elseif n == 6 then redis.call('RPUSH', k, 'a', i, 'c')
      elseif n == 7 then redis.call('SADD', k, i, i + 1, i * 7)
      elseif n == 8 then redis.call('ZADD', k, i, 'member', i / 3, 'third', '-inf', 'least')
      else redis.call('XADD', k, '*', 'field', i) end
    end" from
  for ((from = 0; from < keys; from += 1000)); do
    redis-cli -p "$source" -n $((from / 1000 % 10 == 9)) eval "$script" 0 "$from" >/dev/null
  done
}

# Two writers: one writes singly, one in bursts of mixed commands that a script makes.
start_writers() {
  local burst="
    math.randomseed(redis.call('INCR', 'live:bursts'))
    for _ = 1, 40 do
      local i = math.random(5000)
      redis.call('INCR', 'live:counter:' .. i % 50)
      redis.call('HINCRBY', 'live:hash:' .. i, 'n', 1)
      redis.call('SET', 'live:short:' .. i, i, 'PX', 500 + i % 1500)
      redis.call('ZADD', 'live:board', i, 'player:' .. i % 900)
      redis.call('RPUSH', 'live:list', i) redis.call('LTRIM', 'live:list', -200, -1)
      redis.call('SADD', 'live:set', i) if i % 3 == 0 then redis.call('SPOP', 'live:set') end
    end"
  start /dev/null redis-cli -p "$source" -r -1 -i 0.05 eval "$burst" 0
  writers=($!)
  start /dev/null redis-cli -p "$source" -n 1 -r -1 -i 0.002 incr live:visits
  writers+=($!)
}

# One line a second: drawn over the last one on a terminal, appended elsewhere.
show() {
  local line
  line=$(printf '%6s  %-12s  %12s  %12s  %9s  %12s  %8s' "$@")
  if [[ -t 1 ]]; then printf '\r\033[K%s' "$line"; else printf '%s\n' "$line"; fi
}

watch_it() {
  local begin=$SECONDS before now writes json
  before=$(info "$source" persistence rdb_changes_since_last_save)
  show time phase 'source keys' 'target keys' 'writes/s' 'lag (bytes)' 'lag (ms)'
  [[ -t 1 ]] && echo
  while [[ ! $asked_to_stop ]] && ((${#seconds} == 0 || SECONDS - begin < seconds)); do
    sleep 1 &
    wait $! || true # a signal ends the wait at once
    kill -0 "$gunyu_pid" 2>/dev/null || gunyu_died
    now=$(info "$source" persistence rdb_changes_since_last_save)
    writes=$((now >= before ? now - before : now)) before=$now
    json=$(status)
    show "$((SECONDS - begin))s" "$(field Phase "$json")" "$(key_count "$source")" "$(key_count "$target")" "$writes" \
      "$(field LagBytes "$json")" "$(field LagMs "$json")"
  done
  [[ -t 1 ]] && echo
  return 0
}

gunyu_died() {
  [[ -t 1 ]] && echo
  echo "demo: gunyu has ended; the last of its traces:" >&2
  tail -n 20 "$tmp/gunyu.log" >&2
  exit 1
}

# Waits until gunyu has applied everything that the source has written.
catch_up() {
  local tries applied end
  end=$(info "$source" replication master_repl_offset)
  for ((tries = 0; tries < 300; tries++)); do
    kill -0 "$gunyu_pid" 2>/dev/null || gunyu_died
    applied=$(field Applied "$(status)")
    [[ $applied =~ ^[0-9]+$ ]] && ((applied >= end)) && return
    sleep 0.2
  done
  echo "demo: gunyu has not caught up within a minute (applied ${applied:-nothing} of $end); the last of its traces:" >&2
  tail -n 20 "$tmp/gunyu.log" >&2
  return 1
}

# Everything but gunyu's own checkpoint, which is only on the target.
forget_checkpoint() {
  local db key
  for db in $(databases "$target"); do
    redis-cli -p "$target" -n "$db" --scan --pattern 'redis-gunyu-checkpoint*' | while IFS= read -r key; do
      redis-cli -p "$target" -n "$db" del "$key" >/dev/null
    done
  done
}

# Reads all keys, which makes a server delete those that are due.
expire_due() {
  local db
  for db in $(databases "$1"); do redis-cli -p "$1" -n "$db" --scan >/dev/null; done
}

compare() {
  local tries here there
  for ((tries = 0; tries < 20; tries++)); do
    expire_due "$source"; expire_due "$target"
    here="$(key_count "$source") keys, digest $(redis-cli -p "$source" debug digest)"
    there="$(key_count "$target") keys, digest $(redis-cli -p "$target" debug digest)"
    [[ $here == "$there" ]] && break
    sleep 0.5 # keys that live for a second or two may expire between the two readings
  done
  printf 'source  %s\ntarget  %s\n' "$here" "$there"
  [[ $here == "$there" ]]
}

need_redis
build
tmp=$(mktemp -d)
start_server source; source=$port
start_server target; target=$port
http=$(free_port)

say "a source on port $source with $keys keys, an empty target on port $target"
load
start_writers
command=("$gunyu" sync --source "redis://127.0.0.1:$source" --target "redis://127.0.0.1:$target"
  --set "channel.storer.dirPath=$tmp/state" --set "server.listen=127.0.0.1:$http")
echo "${command[0]} sync$(printf ' \\\n    %s %s' "${command[@]:2}")"
trap 'asked_to_stop=1' INT TERM
start "$tmp/gunyu.log" "${command[@]}"
gunyu_pid=$!

say "live${seconds:+ for $seconds s}; Ctrl-C ends it and compares both servers"
watch_it

trap 'exit 130' INT TERM # a second Ctrl-C ends at once
say "the writers stop, gunyu catches up and stops"
for writer in "${writers[@]}"; do stop "$writer"; done
caught_up=yes
catch_up || caught_up=''
stop "$gunyu_pid"
forget_checkpoint
if compare && [[ $caught_up ]]; then
  say "EQUAL: the target is an exact copy of the source"
else
  say "DIFFERENT"
  exit 4
fi
