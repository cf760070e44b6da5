#!/usr/bin/env bash
# deny.sh - whether any package of the lock file has a licence that deny.toml does not name, another origin than crates.io, is
# banned, or has a known hole. `make deny` runs it.
#
# What the lock file says by itself is judged first, and counts whatever comes after it. Known holes stand in a database that is
# fetched: where it cannot be, holes are NOT judged, which is said in the last line and is no success.
#
#   exit 0: all of it is well     1: something is not     3: holes were not judged, the rest is well
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=scripts/need.sh
. scripts/need.sh

need_rust || exit 1
need_cargo_deny || exit 1

found=()
for what in bans licenses sources; do
  say "$what"
  cargo deny --locked check "$what" || found+=("$what")
done

say "advisories: fetching the database"
judged=yes
if cargo deny --locked fetch db; then
  say "advisories"
  cargo deny --locked check --disable-fetch advisories || found+=(advisories)
else
  judged=no
fi

if ((${#found[@]})); then
  say "NOT WELL: ${found[*]}"
fi
if [[ $judged == no ]]; then
  say "NOT JUDGED: known holes. The database of advisories (https://github.com/RustSec/advisory-db) could not be fetched"
fi
((${#found[@]})) && exit 1
[[ $judged == no ]] && exit 3
say "bans, licences, origins and advisories: all well"
