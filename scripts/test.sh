#!/usr/bin/env bash
# test.sh - everything that must hold: format, lints, and every test. `make test` runs it.
#
#   test.sh            all of it
#   test.sh NAME       only the tests in tests/ whose names contain NAME, built with optimisation, their output shown;
#                      `make matrix` uses this
#   test.sh soak       the same of the soak tests, with debug assertions: first tests/soak, which writes a page, then the others, each for
#                      GUNYU_SOAK_MINUTES; GUNYU_SOAK_ALONE=1 without the others
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

export RUST_BACKTRACE=${RUST_BACKTRACE:-1}
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
# Tests with real servers: two a core keep it busy while others wait, more only make them late.
threads=$(($(nproc) * 2))
((threads > 8)) && threads=8

need_rust
need_redis
need_etcd
need_curl
need_jq

if (($#)); then
  name=$1
  say "tests named *$name*"
  grep -rqE --include='*.rs' "^ *(async )?fn [a-z0-9_]*$name" tests || { echo "test.sh: no test is named *$name*" >&2; exit 1; }
  # The tests of that name in a build of that profile: run_named PROFILE TARGET [OPTION...]
  run_named() { cargo test --locked --no-fail-fast --profile "$1" --test "$2" -- --test-threads 1 --nocapture "$name" "${@:3}"; }
  if [[ $name != soak ]]; then
    run_named release '*'
    exit
  fi
  failed=0
  run_named soak soak || failed=1
  [[ -n ${GUNYU_SOAK_ALONE:-} ]] || run_named soak '*' --skip soak_ends_ || failed=1
  exit $failed
fi

need_component fmt
need_component clippy
need_promtool
need_schemathesis

say "format"
cargo fmt --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
say "lints"
cargo clippy --locked --all-targets -- -D warnings

# The tests are built with the features of their own crates beside ours; what a user builds has ours alone.
say "the program as a user builds it"
shown=$(GUNYU_TARGET_PASSWORD=hidden cargo run --locked --quiet -- config --local --source redis://127.0.0.1:1 --target redis://127.0.0.1:2 \
  --set "output.filter.keyFilter.regexKeyWhitelist=['(?i)^\w+\d\$']")
[[ $shown == *"password: '***'"* ]] || { echo "test.sh: the program does not work as it is built" >&2; exit 1; }

# What a test does not try here it writes there, a line each; tests/support/skipped.rs.
GUNYU_TEST_SKIPPED=$(mktemp)
export GUNYU_TEST_SKIPPED
trap 'rm -f "$GUNYU_TEST_SKIPPED"' EXIT

# Each group runs even if one before it failed: one run should tell everything.
failed=()
group() {
  say "$1"
  shift
  "$@" || failed+=("$*")
}
group "unit tests" cargo test --locked --no-fail-fast --lib --bins
group "examples in the documentation" cargo test --locked --doc
group "tests with real servers, $threads at a time" cargo test --locked --no-fail-fast --test '*' -- --test-threads "$threads"

if [[ -s $GUNYU_TEST_SKIPPED ]]; then
  say "skipped: $(sort -u "$GUNYU_TEST_SKIPPED" | wc -l)"
  sort -u "$GUNYU_TEST_SKIPPED" | sed 's/^skipped: /  /'
fi
if ((${#failed[@]})); then
  say "FAILED"
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
say "all passed"
