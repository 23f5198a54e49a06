#!/bin/sh
# Installs the servers and tools that tests start, where this is Debian and we may.
set -u
missing=""
for program in docker-registry git openssl wrk skopeo prometheus prometheus-alertmanager; do
  command -v "$program" >/dev/null || missing="$missing $program"
done
for pair in gcc=gcc emcc=emscripten arm-none-eabi-gcc=gcc-arm-none-eabi qemu-system-arm=qemu-system-arm \
  qemu-aarch64=qemu-user nft=nftables tc=iproute2 ethtool=ethtool sshd=openssh-server; do
  command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
done
for names in "${CHROMIUM:-chromium} ${CHROMEDRIVER:-chromedriver}" "chromium-browser chromedriver" "google-chrome chromedriver"; do
  set -- $names
  command -v "$1" >/dev/null && command -v "$2" >/dev/null && break
  [ "$1" != google-chrome ] || missing="$missing chromium chromium-driver"
done
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, so their tests are skipped:$missing"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 ||
  echo "could not be installed, so their tests are skipped:$missing"
