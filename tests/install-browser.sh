#!/bin/sh
# Installs a headless Chromium for the browser tests where that is our place to do: on a CI machine, as root, with apt.
# Anywhere else the tests use the chromium that is there, or skip and say so.
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || exit 0
echo "Installing Chromium for the browser tests ..."
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 ||
  echo "Chromium could not be installed; the browser tests will skip."
