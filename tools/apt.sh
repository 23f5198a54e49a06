#!/bin/sh
# Installs the servers and tools that tests start, where this is Debian and we may.
set -u
missing=""
[ -x "$(command -v wrk)" ] || missing="$missing wrk"
[ -x "$(command -v skopeo)" ] || missing="$missing skopeo"
[ -x "$(command -v prometheus)" ] || missing="$missing prometheus"
[ -x "$(command -v chromium)" ] && [ -x "$(command -v chromedriver)" ] || missing="$missing chromium chromium-driver"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -x "$(command -v prometheus-alertmanager)" ] || missing="$missing prometheus-alertmanager"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, so their tests are skipped:$missing"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 ||
  echo "could not be installed, so their tests are skipped:$missing"
