#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages named in the given lists (one a line, # starts a comment) that are not installed yet.
# Does nothing, and asks for no privileges, when none is missing.
set -eu

missing=
# shellcheck disable=SC2013 # words are wanted: a list may have several on a line
for package in $(cat "$@" | sed 's/#.*//' | sort -u); do
	status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	as_root=$(command -v sudo) || {
		echo "packages are missing, and only root can install them: apt-get install$missing" >&2
		exit 1
	}
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # word by word is meant
$as_root apt-get install -y -qq --no-install-recommends $missing
