#!/usr/bin/env bash
# planted.sh - defects that are planted in gunyu, one at a time, each of which its test must catch. `make planted` runs it.
#
#   planted.sh         every patch of tests/planted
#   planted.sh NAME    those whose names contain NAME
#
# A patch begins with what the defect is, and with the command that catches it:
#
#   # what: the torn tail of a log is not cut when the log is opened
#   # caught by: cargo test --test log_model
#
# Patches are tried on the last commit, in a work tree of its own with one folder of built things for all: between two of them little is built.
# It fails where a patch does not apply or does not compile, and where its test passes all the same. GUNYU_PLANTED is the folder for both
# (target/planted); a command may take PLANTED_LIMIT seconds (900), building included: who has not failed by then has not caught anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

need_rust
need_redis
need_etcd

name=${1:-}
limit=${PLANTED_LIMIT:-900}
root=$PWD
patches=("$root"/tests/planted/*"$name"*.patch)
[[ -e ${patches[0]} ]] || { echo "planted.sh: no patch in tests/planted is named *$name*" >&2; exit 1; }

folder=${GUNYU_PLANTED:-$root/target/planted}
tree=$folder/tree
log=$folder/log
export CARGO_TARGET_DIR=$folder/build CARGO_TERM_COLOR=never
mkdir -p "$folder"
remove_tree() { git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"; git worktree prune; }
remove_tree
git worktree add --quiet --detach "$tree" HEAD
trap remove_tree EXIT

# Tries one patch, and says what became of it; fails where the defect was not caught.
try() {
  local command words began=$SECONDS ended=0
  command=$(sed -nE 's/^# caught by: //p;/^diff /q' "$1" | head -n 1)
  [[ $command == *'cargo test '* ]] || { echo "names no command: '# caught by: cargo test …'"; return 1; }
  read -ra words <<<"$command"
  # What is put back gets a new time, by which cargo sees that it must be built.
  git -C "$tree" checkout --quiet --force HEAD -- .
  git -C "$tree" apply "$1" 2>"$log" || { echo "does not apply: $(head -n 1 "$log")"; return 1; }
  (cd "$tree" && timeout --kill-after=10 "$limit" env "${words[@]}") >"$log" 2>&1 || ended=$?
  if grep -q '^error: could not compile' "$log"; then echo "does not compile: $(grep -m 1 '^error' "$log")"; return 1; fi
  case $ended in
    0) echo "NOT CAUGHT by: $command"; return 1 ;;
    124 | 137) echo "not caught within $limit s by: $command"; return 1 ;;
  esac
  grep -qE '^test result: FAILED|^test .* FAILED$|panicked at' "$log" || { echo "no test failed, and yet: $(tail -n 1 "$log")"; return 1; }
  echo "caught, $((SECONDS - began)) s with building"
}

failed=()
for patch in "${patches[@]}"; do
  short=$(basename "$patch" .patch)
  said=$(try "$patch") || { failed+=("$short"); cp "$log" "$folder/$short.log" 2>/dev/null || true; }
  printf '%-44s %s\n' "$short" "$said"
done

if ((${#failed[@]})); then
  say "FAILED; what was said is in $folder"
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
say "all ${#patches[@]} were caught"
