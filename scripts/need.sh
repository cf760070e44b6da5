# need.sh - what the other scripts need from the machine: looked for, and installed where it is missing.
# Sourced, not run. Everything that is installed is announced first. Takes Debian's packages; elsewhere it says what
# to install by hand.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*"; }

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; return; fi
  command -v sudo >/dev/null || { echo "need: this takes root or sudo: $*" >&2; return 1; }
  sudo "$@"
}

# need COMMAND PACKAGE REASON
need() {
  local command=$1 package=$2 reason=$3
  command -v "$command" >/dev/null && return
  install_package "$package" "$command" "$reason"
  command -v "$command" >/dev/null || { echo "need: $package is installed, and yet there is no $command" >&2; return 1; }
}

# install_package PACKAGE WHAT REASON: of Debian
install_package() {
  local package=$1 what=$2 reason=$3
  say "installing Debian's package $package: $reason"
  if ! command -v apt-get >/dev/null; then
    echo "need: no apt-get here; please install $package ($what) yourself: $reason" >&2
    return 1
  fi
  # With fresh lists a second time: those of a new machine are often missing or old.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" ||
    { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; }
  hash -r
}

need_rust() {
  if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
  command -v cargo >/dev/null || { echo "need: Rust is missing (cargo); see https://rustup.rs" >&2; return 1; }
  need cc gcc "Rust links with it, and one dependency is C"
}

# need_component NAME: a part of Rust that minimal installations leave out
need_component() {
  cargo "$1" --version >/dev/null 2>&1 && return
  say "installing cargo $1 with rustup"
  command -v rustup >/dev/null || { echo "need: cargo $1 is missing, and so is rustup, which would install it" >&2; return 1; }
  case $1 in fmt) rustup component add rustfmt ;; *) rustup component add "$1" ;; esac
}

need_redis() { need redis-server redis-server "the tests, the benchmarks and the demo start their own servers of it"; }

# Tools that only the tests use are kept here: unpacked, not installed. `make clean` removes them.
tools_dir() {
  local dir
  dir=$(dirname "${BASH_SOURCE[0]}")/../target/tools
  mkdir -p "$dir" && (cd "$dir" && pwd)
}

# need_etcd: etcd and etcdctl. Debian has them in etcd-server, which would start a server of its own, and etcd-client: both
# programs are taken out of them and put on the PATH of what runs from here. A folder of servers that has one is as good.
need_etcd() {
  local tools
  if command -v etcd >/dev/null && command -v etcdctl >/dev/null; then return; fi
  if [[ -n ${GUNYU_TEST_SERVERS:-} ]] && compgen -G "$GUNYU_TEST_SERVERS/*/bin/etcd" >/dev/null; then return; fi
  tools=$(tools_dir) || return
  export PATH=$tools/etcd:$PATH
  [[ -x $tools/etcd/etcd ]] && "$tools/etcd/etcd" --version >/dev/null 2>&1 && return
  say "fetching etcd out of Debian's packages etcd-server and etcd-client: the tests start their own"
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "need: no apt-get here; please put etcd and etcdctl (3.4 or newer) on the PATH yourself" >&2
    return 1
  fi
  unpack_etcd "$tools" || { as_root apt-get update && unpack_etcd "$tools"; } ||
    { echo "need: etcd could not be fetched; please put etcd and etcdctl (3.4 or newer) on the PATH yourself" >&2; return 1; }
}

# As unpack_promtool.
unpack_etcd() (
  dir=$(mktemp -d "$1/etcd.XXXXXX")
  trap 'rm -rf "$dir"' EXIT
  cd "$dir" || exit
  apt-get -q -o APT::Sandbox::User=root download etcd-server etcd-client || exit
  for package in etcd-server_*.deb etcd-client_*.deb; do dpkg -x "$package" unpacked || exit; done
  unpacked/usr/bin/etcd --version || exit
  unpacked/usr/bin/etcdctl version || exit
  rm -rf "$1/etcd"
  mv unpacked/usr/bin "$1/etcd"
)

# need_promtool: sets PROMTOOL. Debian has it in the package prometheus, which would start a server: only promtool is
# taken out of it.
need_promtool() {
  local tools
  if [[ -n ${PROMTOOL:-} ]]; then export PROMTOOL; return; fi
  if command -v promtool >/dev/null; then PROMTOOL=$(command -v promtool); export PROMTOOL; return; fi
  tools=$(tools_dir) || return
  export PROMTOOL=$tools/promtool
  "$PROMTOOL" --version >/dev/null 2>&1 && return
  say "fetching promtool out of Debian's package prometheus: the tests of the alert rules run it"
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "need: no apt-get here; please install promtool (it comes with Prometheus) yourself, or set PROMTOOL to its path" >&2
    return 1
  fi
  unpack_promtool "$tools" || { as_root apt-get update && unpack_promtool "$tools"; } ||
    { echo "need: promtool could not be fetched; please install it yourself, or set PROMTOOL to its path" >&2; return 1; }
}

# In a folder of its own, and into place in one step: an interrupted download leaves no half of a program behind.
unpack_promtool() (
  dir=$(mktemp -d "$1/promtool.XXXXXX")
  trap 'rm -rf "$dir"' EXIT
  cd "$dir" || exit
  apt-get -q -o APT::Sandbox::User=root download prometheus || exit
  dpkg -x prometheus_*.deb unpacked || exit
  unpacked/usr/bin/promtool --version || exit
  mv unpacked/usr/bin/promtool "$1/promtool"
)

# One version, so that the same seed makes the same requests.
schemathesis_version=4.32.5

# need_schemathesis: sets SCHEMATHESIS.
need_schemathesis() {
  local tools
  if [[ -n ${SCHEMATHESIS:-} ]]; then export SCHEMATHESIS; return; fi
  tools=$(tools_dir) || return
  export SCHEMATHESIS=$tools/schemathesis-$schemathesis_version/bin/schemathesis
  need_python_program "$SCHEMATHESIS" "schemathesis==$schemathesis_version" "it fuzzes the HTTP API" ||
    { echo "need: schemathesis could not be installed; please do it yourself, or set SCHEMATHESIS to its path" >&2; return 1; }
}

# need_python_program PATH PACKAGE REASON: PATH is that of a program in an environment of its own, HOME/bin/NAME
need_python_program() {
  local path=$1 package=$2 reason=$3 home
  home=$(dirname "$(dirname "$path")")
  "$path" --help >/dev/null 2>&1 && return
  need python3 python3 "$package is a Python program: $reason" || return
  # Debian's python3 lacks what makes environments; others have it.
  python3 -c 'import ensurepip, venv' 2>/dev/null ||
    install_package python3-venv "Python's venv" "$package gets an environment of its own" || return
  say "installing $package with pip into target/tools: $reason"
  rm -rf "$home"
  python3 -m venv "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check "$package" && "$path" --help >/dev/null
}

need_curl() { need curl curl "a test makes the calls of the HTTP API with it"; }

need_jq() { need jq jq "the documents read JSON with it, and a test runs every command in them"; }

need_cargo_deny() {
  cargo deny --version >/dev/null 2>&1 && return
  say "installing cargo-deny with cargo: it knows holes, licences and origins of packages"
  cargo install --locked cargo-deny
}

need_cargo_fuzz() {
  cargo fuzz --version >/dev/null 2>&1 && return
  say "installing cargo-fuzz 0.13 with cargo: it builds and runs the fuzz targets"
  cargo install --locked cargo-fuzz@0.13.2
}

need_cargo_deb() {
  cargo deb --version >/dev/null 2>&1 && return
  say "installing cargo-deb with cargo: it makes the Debian package"
  cargo install --locked cargo-deb
}

# need_musl: what a static program is built with
need_musl() {
  need musl-gcc musl-tools "the static program is linked with it"
  command -v rustup >/dev/null || { echo "need: rustup is missing, which brings Rust's libraries for static programs" >&2; return 1; }
  rustup target add "$(uname -m)-unknown-linux-musl"
}

# need_kubernetes_validate: sets KUBERNETES_VALIDATE.
need_kubernetes_validate() {
  local tools
  tools=$(tools_dir) || return
  export KUBERNETES_VALIDATE=$tools/kubernetes-validate/bin/kubernetes-validate
  need_python_program "$KUBERNETES_VALIDATE" kubernetes-validate "it has the schemas of Kubernetes"
}
