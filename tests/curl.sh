#!/usr/bin/env bash
# curl.sh - the calls of the HTTP API as its first description has them, one by one. tests/control/curl.rs looks at the servers after each.
#
#   curl.sh SERVER STEP [INPUTS]     SERVER as http://127.0.0.1:18001; prints the body, and the status code as the last line
#
# By hand: curl.sh http://127.0.0.1:18001 status
set -euo pipefail
http_server=${1:?curl.sh SERVER STEP [INPUTS]} step=${2:?curl.sh SERVER STEP [INPUTS]} inputs=${3:-}

# The calls below stay as they are written in the description; only how they are shown is added.
curl() { command curl --silent --show-error --max-time 100 --write-out '\n%{http_code}\n' "$@"; }

case $step in
  status) curl "$http_server/syncer/status" ;;
  config) curl "$http_server/syncer/config" ;;
  config-json) curl "$http_server/syncer/config?format=json" ;;
  # The description has flushdb=yes in these two as well; it has no meaning there.
  pause) curl -XPOST "$http_server/syncer/pause?inputs=$inputs&flushdb=yes" ;;
  resume) curl -XPOST "$http_server/syncer/resume?inputs=$inputs&flushdb=yes" ;;
  restart) curl -XPOST "$http_server/syncer/restart" ;;
  fullsync) curl -XPOST "$http_server/syncer/fullsync?inputs=$inputs&flushdb=yes" ;;
  fullsync-without-flush) curl -XPOST "$http_server/syncer/fullsync?inputs=$inputs" ;;
  handover) curl -XPOST "$http_server/syncer/handover?inputs=$inputs" ;;
  gc) curl "$http_server/storage/gc" ;;
  metrics) curl "$http_server/prometheus" ;;
  stop) curl -XDELETE "$http_server/" ;;
  *) echo "curl.sh: there is no step $step" >&2; exit 2 ;;
esac
