#!/usr/bin/env bash
# package.sh - the Debian package: built, judged by lintian, and tried in a small Debian of its own: installed, started, upgraded, purged.
# Then the static program, which needs no library of the machine, and the manifests, judged by Kubernetes' own schemas. `make package` runs it.
#
# Needs root for the small Debian (a chroot in a temporary folder). What it leaves: target/debian/*.deb, target/*-linux-musl/release/gunyu.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/need.sh
. scripts/need.sh

need_rust
need_redis
need lintian lintian "it judges the package"
need mmdebstrap mmdebstrap "the package is tried in a Debian that has nothing else"
need setpriv util-linux "the service is started as its own user"
need_cargo_deb

fail() { echo "package.sh: $*" >&2; exit 1; }

say "the program"
cargo build --locked --release --bin gunyu

say "the package, and one of a later version"
# The later one is only to be tried, so it need not be small; and it comes first, since cargo-deb keeps one.
later=0.1.0-1+later1 upgrade=target/later.deb
cargo deb --locked --no-build --strip --quiet --fast --deb-version "$later" --output "$upgrade"
package=$(cargo deb --locked --no-build --strip --quiet | tail -1)
dpkg-deb --info "$package" | sed -n 's/^ \(Package\|Version\|Depends\|Installed-Size\):/  &/p'

say "lintian"
root=()
[[ $(id -u) != 0 ]] || root=(--allow-root)
lintian "${root[@]}" --fail-on error "$package"

say "a small Debian"
debian=$(mktemp -d) log=$(mktemp)
servers=() service=
clean() {
  local code=$?
  [[ -z $service ]] || kill "$service" 2>/dev/null || true
  ((${#servers[@]} == 0)) || kill "${servers[@]}" 2>/dev/null || true
  as_root umount "$debian/proc" 2>/dev/null || true
  as_root rm -rf "$debian" "$log"
  exit "$code"
}
trap clean EXIT
mapfile -t sources < <(find /etc/apt -maxdepth 2 \( -name 'sources.list' -o -name 'debian.sources' \) -size +0)
as_root mmdebstrap --quiet --variant=apt --mode=root --include=adduser,ca-certificates,bash-completion,man-db "" "$debian" "${sources[@]}"
as_root mount -t proc proc "$debian/proc"
inside() { as_root chroot "$debian" /usr/bin/env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

say "installed"
as_root cp "$package" "$debian/tmp/gunyu.deb"
as_root cp "$upgrade" "$debian/tmp/later.deb"
inside dpkg --install /tmp/gunyu.deb
inside gunyu --version
inside sh -c 'test "$(stat -c "%a %U %G" /etc/gunyu/gunyu.yaml)" = "640 root gunyu"' || fail "anybody can read the configuration"
inside sh -c 'test "$(stat -c "%a %U" /var/lib/gunyu)" = "700 gunyu"' || fail "anybody can read the logs"
inside test -e /usr/share/bash-completion/completions/gunyu || fail "no completions"
inside test -e /usr/share/man/man1/gunyu-sync.1.gz || fail "no manual pages"
inside test -e /lib/systemd/system/gunyu.service -o -e /usr/lib/systemd/system/gunyu.service || fail "no service"
inside sh -c 'test ! -e /etc/systemd/system/multi-user.target.wants/gunyu.service' || fail "the service is enabled without a configuration"

# As systemd would: the line of the unit, as its user, in its environment.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_until() { for ((i = 0; i < 300; i++)); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; fail "in vain: $*"; }
source=$(free_port) target=$(free_port) api=$(free_port)
for port in "$source" "$target"; do
  redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no --dir "$debian/tmp" --requirepass secret >/dev/null &
  servers+=($!)
done
cli() { local port=$1; shift; redis-cli --no-auth-warning -a secret -p "$port" "$@"; }
for port in "$source" "$target"; do wait_until cli "$port" PING; done
as_root sed -i "s/127.0.0.1:6379/127.0.0.1:$source/; s/127.0.0.1:6380/127.0.0.1:$target/; s/127.0.0.1:18001/127.0.0.1:$api/" "$debian/etc/gunyu/gunyu.yaml"
as_root tee "$debian/etc/default/gunyu" >/dev/null <<<$'GUNYU_SOURCE_PASSWORD=secret\nGUNYU_TARGET_PASSWORD=secret'
cli "$source" SET before 1 >/dev/null

line=$(sed -n 's/^ExecStart=//p' packaging/gunyu.service)
root_command=()
[[ $(id -u) == 0 ]] || root_command=(sudo)
# `exec` all the way, so that the number is that of gunyu itself; sudo passes signals on.
start() {
  (exec "${root_command[@]}" chroot "$debian" \
    sh -c "set -a; . /etc/default/gunyu; exec setpriv --reuid gunyu --regid gunyu --clear-groups --no-new-privs $line") \
    >>"$log" 2>&1 &
  service=$!
}
stop() {
  local code=0
  kill "$service"
  wait "$service" || code=$?
  service=
  ((code == 0)) || { cat "$log"; fail "it ended with $code"; }
}
is_copied() { [[ $(cli "$target" GET "$1") == "$2" ]]; }

say "started"
start
wait_until is_copied before 1
inside gunyu status --config /etc/gunyu/gunyu.yaml
[[ -n $(inside find /var/lib/gunyu -user gunyu -type f -perm 0600) ]] || fail "no log of its own"
stop

say "upgraded"
cli "$source" SET meanwhile 2 >/dev/null
inside dpkg --install /tmp/later.deb
inside dpkg-query --show gunyu | grep -qF "$later" || fail "not upgraded"
inside grep -q "$source" /etc/gunyu/gunyu.yaml || fail "the administrator's configuration is lost"
start
wait_until is_copied meanwhile 2
inside gunyu status --config /etc/gunyu/gunyu.yaml --json | grep -q '"DeadLetters": *0' || fail "it does not go on from where it was"
stop
[[ $(cli "$source" INFO stats | sed -n 's/^sync_full:\([0-9]*\).*/\1/p') == 1 ]] || fail "the upgrade cost a full sync"

say "removed and purged"
inside dpkg --remove gunyu
inside test -e /etc/gunyu/gunyu.yaml || fail "removing it took the configuration along"
inside test -d /var/lib/gunyu || fail "removing it took the logs along"
inside dpkg --purge gunyu
for left in /etc/gunyu /etc/default/gunyu /var/lib/gunyu /usr/bin/gunyu; do
  inside test ! -e "$left" || fail "$left is left after the purge"
done

say "the static program"
need_musl
musl=$(uname -m)-unknown-linux-musl
cargo build --locked --release --target "$musl" --bin gunyu
static=target/$musl/release/gunyu
! ldd "$static" 2>/dev/null | grep -q '=>' || fail "$static asks for libraries"
# In a folder that holds nothing else, as in the image.
as_root mkdir -p "$debian/empty/usr/bin" "$debian/empty/tmp"
as_root cp "$static" "$debian/empty/usr/bin/gunyu"
as_root chroot "$debian/empty" /usr/bin/gunyu --version
as_root chroot "$debian/empty" /usr/bin/gunyu fullsync --flushdb --source "redis://:secret@127.0.0.1:$source" --target "redis://:secret@127.0.0.1:$target"
is_copied meanwhile 2 || fail "the static program does not copy"

say "the manifests"
need_kubernetes_validate
"$KUBERNETES_VALIDATE" --strict packaging/kubernetes/*.yaml

say "what cargo would publish"
cargo publish --locked --dry-run --allow-dirty --no-verify

say "packages: $package, $static"
