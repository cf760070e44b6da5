#!/usr/bin/env bash
# deny.sh - whether any package of the lock file has a known hole, a licence that deny.toml does not name, or another origin than crates.io.
# `make deny` runs it. The database of advisories is fetched, so it needs the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

need_rust
need_cargo_deny
say "packages"
cargo deny --locked check advisories licenses sources
