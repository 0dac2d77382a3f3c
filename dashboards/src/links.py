# SPDX-License-Identifier: Apache-2.0
"""Links from a cell or a series to the dashboard that goes on from there, and to an exporter's /flows."""

KEPT = "${__url_time_range}&${datasource:queryparam}&${cluster:queryparam}&${job:queryparam}"


def field(name):
    """The value of another column of the row."""
    return f'${{__data.fields["{name}"]}}'


def label(name):
    """A label of the series."""
    return f"${{__field.labels.{name}}}"


def dashboard(uid, title, **variables):
    """A link that keeps the time range and the scope, and sets these variables."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return {"title": title, "url": f"/d/{uid}?{KEPT}{chosen}"}


def service(title, namespace, workload):
    """The dashboard of a service."""
    return dashboard("flowgauge-service", title, namespace=namespace, workload=workload)


def flows(title, instance, **parameters):
    """The addresses behind it: /flows of the exporter on that node. $flows is what comes before its address."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return {"title": title, "url": f"${{flows:raw}}{instance}/flows?{query}", "targetBlank": True}
