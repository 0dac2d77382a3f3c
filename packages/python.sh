#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Python packages of a list (pip's requirements) into a virtual environment of their own, so that the
# system's Python stays as it is. Does nothing when the list was installed there before.
#
# usage: python.sh LIST DIRECTORY
set -eu

list=$1
directory=$2
stamp=$directory/installed.txt

if cmp -s "$list" "$stamp"; then
	exit 0
fi
python3 -m venv --clear "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --requirement "$list"
cp "$list" "$stamp"
