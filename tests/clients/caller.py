# SPDX-License-Identifier: Apache-2.0
"""A program that depends on others and lives with their failures: fetches each URL in turn, forever, whatever comes of it.

Arguments: milliseconds between two, then URLs; tcp://address:port only connects."""

import http.client
import itertools
import socket
import sys
import time
import urllib.parse


def call(url):
    """One connection, one request."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "tcp":
        socket.create_connection((parts.hostname, parts.port), timeout=30).close()
        return
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request("GET", parts.path or "/")
        connection.getresponse().read()
    finally:
        connection.close()


for target in itertools.cycle(sys.argv[2:]):
    try:
        call(target)
    except (OSError, http.client.HTTPException):
        pass
    time.sleep(int(sys.argv[1]) / 1000)
