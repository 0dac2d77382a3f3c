# SPDX-License-Identifier: Apache-2.0
"""An ordinary HTTP client: downloads and uploads of many sizes, with keep-alive and without, over both families.

Arguments: port, connections, requests on each, then addresses."""

import http.client
import sys

port, connections, requests = (int(argument) for argument in sys.argv[1:4])
for number in range(connections):
    address = sys.argv[4 + number % (len(sys.argv) - 4)]
    keep_alive = number % 3 != 0
    connection = http.client.HTTPConnection(address, port, timeout=60)
    for request in range(requests):
        headers = {"X-Padding": "p" * ((number * 37 + request * 101) % 2000)}
        if not keep_alive:
            headers["Connection"] = "close"
        if request % 4 == 3:
            body = b"u" * ((number * 997 + request * 7919) % 200000)
            connection.request("PUT", f"/put/{number % 7}", body=body, headers=headers)
        else:
            connection.request("GET", ("/small", "/page", "/large")[(number + request) % 3], headers=headers)
        response = connection.getresponse()
        response.read()
        if response.status not in (200, 201, 204):
            sys.exit(f"{response.status} {response.reason}")
    connection.close()
