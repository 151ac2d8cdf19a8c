#!/usr/bin/env bash
# Runs .ci/run, or the command given, from the last commit on a minimal Debian that has make, this machine's Node with npm,
# and Go: no more. Needs root, debootstrap and network. CACHES=1 copies this user's built programs, which saves the builds.
set -euo pipefail
cd "$(dirname "$0")/.."
(($# > 0)) || set -- .ci/run

folder=$(mktemp -d "${TMPDIR:-/tmp}/peerdiscovery-minimal-XXXXXX")
root=$folder/root
child=
# Runs a command in namespaces of its own, whose mounts and processes end with it, also on a signal.
contain() {
  unshare --mount --pid --fork --kill-child "$@" &
  child=$!
  local status=0
  wait "$child" || status=$?
  child=
  return "$status"
}
# All processes in the root end before the root is removed.
end() {
  [ -z "$child" ] || { kill -KILL "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; }
  rm -rf --one-file-system "$folder"
}
trap end EXIT
trap 'exit 143' TERM INT HUP
echo "making a minimal Debian in $root"
contain debootstrap --variant=minbase --include=make,ca-certificates bookworm "$root" >"$folder/debootstrap.log" 2>&1 ||
  { tail -20 "$folder/debootstrap.log" >&2; exit 1; }

npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
mkdir -p "$root/usr/local/lib/node_modules" "$root/root/.cache"
cp "$(command -v node)" "$root/usr/local/bin/"
cp -a "$npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
cp -a "$(go env GOROOT)" "$root/usr/local/go"
# How this machine reaches Debian, npm and Go's proxy.
cp /etc/resolv.conf /etc/hosts "$root/etc/"
rm -r "$root/etc/ssl/certs"
cp -rL /etc/ssl/certs "$root/etc/ssl/"
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
[ ! -f ~/.npmrc ] || cp ~/.npmrc "$root/root/"
if [ -n "${CACHES:-}" ]; then
  cp -a ~/.cache/peerdiscovery "$root/root/.cache/"
  [ ! -d ~/.npm ] || cp -a ~/.npm "$root/root/"
fi
mkdir "$root/project"
git archive HEAD | tar -x -C "$root/project"

contain sh -ec '
  root=$1; shift
  # Programs in it make mount namespaces of their own, which needs a mount at their root.
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs tmpfs "$root/tmp"
  exec chroot "$root" /usr/bin/env -u MAKEFLAGS -u MAKELEVEL HOME=/root \
    PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c "cd /project && exec \"\$@\"" sh "$@"
' sh "$root" "$@"
