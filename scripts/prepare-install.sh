#!/usr/bin/env bash
# Gets the one library that the Node of package-lock.json needs and a minimal system lacks.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
case $(ldconfig -p 2>/dev/null || true) in
  "" | *libatomic.so.1*) exit 0 ;;
esac
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "libatomic.so.1 is missing, which Node needs: install libatomic1 (Debian, Ubuntu) or libatomic (Fedora)" >&2
  exit 1
fi
echo "installing Debian's package libatomic1"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libatomic1 >/dev/null
