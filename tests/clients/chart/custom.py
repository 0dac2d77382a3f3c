# SPDX-License-Identifier: Apache-2.0
"""Schemas of the custom resources that the chart makes: the fields that it may use, as their operators document them, and no others.

Whole definitions are not on the machine; strict about names, this finds what is misspelt or in the wrong place."""

import jsonschema

TEXT, FLAG, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
TEXTS = {"type": "array", "items": TEXT}
MAP = {"type": "object", "additionalProperties": TEXT}
DURATION = {"type": "string", "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"}


def closed(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def many(item):
    return {"type": "array", "items": item}


def custom(version, kind, **body):
    metadata = closed(["name"], name={"type": "string", "maxLength": 63}, namespace=TEXT, labels=MAP, annotations=MAP)
    return closed(["apiVersion", "kind", "metadata"], apiVersion={"const": version}, kind={"const": kind}, metadata=metadata, **body)


KEY = closed(["key"], name=TEXT, key=TEXT, optional=FLAG)
EITHER = {**closed(secret=KEY, configMap=KEY), "maxProperties": 1}
TLS = closed(ca=EITHER, cert=EITHER, keySecret=KEY, serverName=TEXT, insecureSkipVerify=FLAG, minVersion=TEXT, maxVersion=TEXT)
ACTION = {"enum": ["replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal", "dropequal"]}
RELABEL = closed(sourceLabels=TEXTS, separator=TEXT, targetLabel=TEXT, regex=TEXT, modulus=NUMBER, replacement=TEXT, action=ACTION)
ENDPOINT = closed(
    ["port"],
    port=TEXT,
    path=TEXT,
    scheme={"enum": ["http", "https"]},
    interval=DURATION,
    scrapeTimeout=DURATION,
    honorLabels=FLAG,
    tlsConfig=TLS,
    basicAuth=closed(username=KEY, password=KEY),
    relabelings=many(RELABEL),
    metricRelabelings=many(RELABEL),
)
SELECTOR = closed(matchLabels=MAP)
PLACE = closed(any=FLAG, matchNames=TEXTS)
RULE = {
    **closed(
        ["expr"],
        record={"type": "string", "pattern": r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"},
        alert={"type": "string", "minLength": 1},
        expr={"type": ["string", "integer"]},
        labels=MAP,
        annotations=MAP,
        **{"for": DURATION, "keep_firing_for": DURATION},
    ),
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
}
GROUP = closed(["name", "rules"], name=TEXT, interval=DURATION, limit=NUMBER, labels=MAP, rules=many(RULE))
ANYBODY = closed(["type"], type={"enum": ["RunAsAny", "MustRunAs"]})
MONITORING = "monitoring.coreos.com/v1"

SCHEMAS = {
    "PodMonitor": custom(
        MONITORING,
        "PodMonitor",
        spec=closed(["selector", "podMetricsEndpoints"], selector=SELECTOR, namespaceSelector=PLACE, podMetricsEndpoints=many(ENDPOINT), sampleLimit=NUMBER),
    ),
    "ServiceMonitor": custom(
        MONITORING,
        "ServiceMonitor",
        spec=closed(["selector", "endpoints"], selector=SELECTOR, namespaceSelector=PLACE, endpoints=many(ENDPOINT), sampleLimit=NUMBER),
    ),
    "PrometheusRule": custom(MONITORING, "PrometheusRule", spec=closed(["groups"], groups=many(GROUP))),
    "SecurityContextConstraints": custom(
        "security.openshift.io/v1",
        "SecurityContextConstraints",
        **{name: FLAG for name in ("allowPrivilegedContainer", "allowPrivilegeEscalation", "allowHostPID", "allowHostIPC", "allowHostNetwork")},
        **{name: FLAG for name in ("allowHostPorts", "allowHostDirVolumePlugin", "readOnlyRootFilesystem")},
        **{name: TEXTS for name in ("users", "groups", "requiredDropCapabilities", "allowedCapabilities", "defaultAddCapabilities", "seccompProfiles", "volumes")},
        **{name: ANYBODY for name in ("runAsUser", "fsGroup", "supplementalGroups", "seLinuxContext")},
    ),
}


def validate(each):
    """Whether it is custom, and as its operator wants it."""
    schema = SCHEMAS.get(each["kind"])
    if schema is None:
        return False
    jsonschema.Draft202012Validator(schema).validate(each)
    return True
