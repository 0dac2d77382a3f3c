# SPDX-License-Identifier: Apache-2.0
"""Checks of the Helm chart; `tests/tests/chart.rs` runs each. Argument: its name."""

import base64
import copy
import gzip
import json
import re
import sys

import custom
import helm_python
import kubernetes_validate
import yaml
from chart import CHART, NAMESPACE, TOP, cases, container, objects, of_kind, one, templates

# The oldest that Chart.yaml allows, and the newest there is a schema of.
VERSIONS = ("1.30", kubernetes_validate.latest_version())


def lint():
    """Helm has nothing to say against it but that it has no icon."""
    for name, values in cases().items():
        report = helm_python.lint(CHART, values, strict=True, namespace=NAMESPACE)
        said = [message for message in report["messages"] if "icon is recommended" not in message["error"]]
        assert not said and not report["errors"], f"{name}: {said} {report['errors']}"


def validate():
    """Every object of every case is what Kubernetes, or an operator, knows; no two have one name."""
    for name, values in cases().items():
        for path, text in templates(values).items():
            assert "<no value>" not in text and "%!" not in text, f"{name}: {path} says something that was not there"
        seen = set()
        for each in objects(values):
            place = (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
            assert place not in seen, f"{name}: {place} is there twice"
            seen.add(place)
            try:
                if custom.validate(each):
                    continue
                for version in VERSIONS:
                    kubernetes_validate.validate(each, version, strict=True)
            except Exception as error:
                raise AssertionError(f"{name}: {place}: {error}") from error


def strictness():
    """The validation does refuse what is misspelt."""
    made = objects(cases()["operator"])
    for kind, path in [("DaemonSet", ["spec", "template", "spec", "containers", 0]), ("PodMonitor", ["spec", "podMetricsEndpoints", 0])]:
        wrong = copy.deepcopy(of_kind(made, kind)[0])
        place = wrong
        for key in path:
            place = place[key]
        place["readynessProbe"] = {}
        try:
            custom.validate(wrong) or kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)
        except Exception:
            continue
        raise AssertionError(f"a misspelt field of a {kind} is not found")


REFUSED = {
    "a key that nobody knows": ({"colour": "red"}, "colour"),
    "one below": ({"image": {"tags": "1"}}, "tags"),
    "a misspelt collector": ({"collectors": {"tpc": True}}, "tpc"),
    "one in a list": ({"cloudRanges": {"configMaps": [{"configMap": "a", "keys": ["b"], "key": "b"}]}}, "key"),
    "text for a number": ({"listen": {"port": "http"}}, "port"),
    "a number that is none of a port": ({"listen": {"port": 70000}}, "port"),
    "a level that there is not": ({"log": {"level": "loud"}}, "level"),
    "too small a limit": ({"series": {"limit": 10}}, "limit"),
    "both monitors": ({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "scraped twice"),
    "a policy that would not hold": ({"networkPolicy": {"enabled": True}}, "host's network namespace"),
    "two web configurations": ({"webConfig": {"content": {"tls_server_config": {}}, "existingSecret": "x"}}, "choose one"),
    "two names files": ({"namesFile": {"content": {"names": []}, "existingConfigMap": "x"}}, "choose one"),
    "an alert that there is not": ({"prometheusRule": {"enabled": True, "disabled": ["FlowgaugeColour"]}}, "FlowgaugeColour"),
    "the host's files without the host": ({"hostRoot": False, "cloudRanges": {"hostFiles": ["/a"]}}, "hostRoot"),
}


def refusals():
    """What cannot be is refused, in words that name it."""
    for what, (values, word) in REFUSED.items():
        try:
            objects(values)
        except helm_python.HelmError as error:
            assert word in str(error), f"{what}: {error}"
        else:
            raise AssertionError(f"{what} is not refused")


def schema():
    """The schema has what values.yaml has, and takes nothing else anywhere."""
    document = json.loads((CHART / "values.schema.json").read_text())

    def compare(part, values, path):
        if "properties" not in part:
            return
        assert part.get("additionalProperties") is False, f"{path or 'values'}: takes any key"
        missing = set(part["properties"]) ^ set(values) - {"global"}
        missing -= {"global"} if not path else set()
        assert not missing, f"{path or 'values'}: only one of schema and values.yaml has {missing}"
        for key, value in values.items():
            if isinstance(value, dict) and value:
                compare(part["properties"][key], value, f"{path}.{key}".lstrip("."))

    compare(document, yaml.safe_load((CHART / "values.yaml").read_text()), "")
    # A chart that has this one among its own gives it what is global.
    objects({"global": {"imageRegistry": "registry.example.org"}})


def rules():
    """The rules are those of alerts/ without values; with values, what they say and nothing else is different."""
    source = {}
    for path in sorted((TOP / "alerts/rules").glob("*.yaml")):
        source[f"flowgauge-{path.stem}"] = yaml.safe_load(path.read_text())
    made = of_kind(objects({"prometheusRule": {"enabled": True}}), "PrometheusRule")
    assert {each["metadata"]["name"]: each["spec"] for each in made} == source, "rules are not those of alerts/rules"

    values = cases()["operator"]["prometheusRule"]
    changed = {each["metadata"]["name"]: each["spec"]["groups"] for each in of_kind(objects(cases()["operator"]), "PrometheusRule")}
    left_out = 0
    for name, spec in source.items():
        expected = []
        for group in spec["groups"]:
            kept = []
            for rule in group["rules"]:
                if rule.get("alert") in values["disabled"]:
                    left_out += 1
                    continue
                if "alert" in rule:
                    rule["labels"] = {**rule.get("labels", {}), **values["alertLabels"]}
                    links = rule["annotations"]
                    links["runbook_url"] = f"{values['runbooks'].rstrip('/')}/{rule['alert']}.md"
                    before = links["dashboard"]
                    links["dashboard"] = before.replace("http://grafana:3000", values["grafana"])
                    assert links["dashboard"] != before, "nothing leads to Grafana"
                kept.append(rule)
            if kept:
                expected.append({**group, "rules": kept})
        assert changed[name] == expected, name
    assert left_out == len(values["disabled"])


def dashboards():
    """Each dashboard of dashboards/ is a ConfigMap that the sidecar finds."""
    source = {path.name: path.read_text() for path in sorted((TOP / "dashboards").glob("*.json"))}
    made = [each for each in objects(cases()["operator"]) if each["kind"] == "ConfigMap"]
    data = {}
    for each in made:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1" and each["metadata"]["namespace"] == "monitoring"
        assert len(json.dumps(each)) < 1 << 20, f"{each['metadata']['name']}: a ConfigMap holds 1 MiB"
        data.update(each["data"])
    assert data == source


def release():
    """Helm keeps a release in one Secret, which holds 1 MiB: the chart's files and all that it rendered."""
    values = {**cases()["operator"], "openshift": {"enabled": True}}
    files = [{"name": str(path.relative_to(CHART)), "data": base64.b64encode(path.read_bytes()).decode()} for path in CHART.rglob("*") if path.is_file() and "ci" not in path.parts]
    stored = json.dumps({"chart": files, "config": values, "manifest": "".join(templates(values).values())})
    size = len(base64.b64encode(gzip.compress(stored.encode())))
    print(f"a release with everything is {size // 1024} KiB")
    assert size < 1 << 20


def probes():
    """The kubelet asks in a way that it can be answered, and Prometheus by the scheme that is served."""
    wanted = {
        "default": ("httpGet", "HTTP"),
        "secured": ("tcpSocket", None),
        "certificates": ("httpGet", "HTTPS"),
        "alone": (None, None),
    }
    for name, (handler, scheme) in wanted.items():
        made = container(objects(cases()[name]))
        found = [made[probe] for probe in ("startupProbe", "readinessProbe", "livenessProbe") if probe in made]
        assert len(found) == (3 if handler else 0), name
        for probe in found:
            assert handler in probe and probe[handler].get("scheme") == scheme and probe[handler]["port"] == "metrics", f"{name}: {probe}"
    tls = {"webConfig": {"content": {"tls_server_config": {"cert_file": "a", "key_file": "b"}}}}
    assert container(objects(tls))["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    certificates = copy.deepcopy(tls)
    certificates["webConfig"]["content"]["tls_server_config"]["client_auth_type"] = "RequireAndVerifyClientCert"
    assert "tcpSocket" in container(objects(certificates))["readinessProbe"]
    assert one(objects(cases()["secured"]), "ServiceMonitor")["spec"]["endpoints"][0]["scheme"] == "https"


def names():
    """Names fit and belong together, whatever the release is called; selectors never change with the chart's version."""
    for release_name, name in [("flowgauge", "flowgauge"), ("net", "net-flowgauge"), ("n" * 53, "n" * 52)]:
        made = objects({**cases()["operator"], "resourceQuota": {"enabled": True}, "webConfig": {"content": {"basic_auth_users": {}}}}, release_name)
        daemon = one(made, "DaemonSet")
        assert daemon["metadata"]["name"] == name
        assert all(len(each["metadata"]["name"]) <= 253 for each in made)
        selector = daemon["spec"]["selector"]["matchLabels"]
        assert set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
        assert selector.items() <= daemon["spec"]["template"]["metadata"]["labels"].items()
        assert one(made, "PodMonitor")["spec"]["selector"]["matchLabels"] == selector
        subject = one(made, "ClusterRoleBinding")["subjects"][0]
        assert subject["name"] == one(made, "ServiceAccount")["metadata"]["name"]
        assert one(made, "ClusterRoleBinding")["roleRef"]["name"] == one(made, "ClusterRole")["metadata"]["name"]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = (TOP / "Cargo.toml").read_text().split('version = "')[1].split('"')[0]
    assert version["appVersion"] == cargo, f"appVersion {version['appVersion']}, Cargo.toml {cargo}"


def mounts():
    """Each mount has its volume and each volume its mount; a file that a flag names lies in one of them, or on the host."""
    for name, values in cases().items():
        made = objects(values)
        pod, box = one(made, "DaemonSet")["spec"]["template"]["spec"], container(made)
        paths = {mount["name"]: mount["mountPath"] for mount in box["volumeMounts"]}
        assert set(paths) == {volume["name"] for volume in pod["volumes"]}, name
        assert all(mount.get("readOnly") for mount in box["volumeMounts"] if mount["name"] != "more"), name
        for flag, path in (flag.split("=", 1) for flag in box["args"] if "=/" in flag and "web.telemetry-path" not in flag):
            assert any(path == mount or path.startswith(mount + "/") for mount in paths.values()), f"{name}: {flag} {path}"
        made_here = {each["metadata"]["name"]: each for each in made if each["kind"] in ("ConfigMap", "Secret")}
        for volume in pod["volumes"]:
            source = volume.get("configMap", volume.get("secret", {}))
            found = made_here.get(source.get("name", source.get("secretName")))
            if found:
                keys = found.get("data", found.get("stringData", {}))
                assert any(key in " ".join(box["args"]) for key in keys), f"{name}: no flag names {volume}"


def image():
    """The Dockerfile, which no engine here can build: compiler no older than the sources want, nothing below the binary, one entry point."""
    text = (TOP / "Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    needed = re.search(r'^rust-version = "([\d.]+)"$', (TOP / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert [int(part) for part in arguments["RUST"].split(".")] >= [int(part) for part in needed.split(".")], needed
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert stages[1:] == ["scratch", "scratch"], stages
    assert text.count('ENTRYPOINT ["/flowgauge"]') == 2 and text.rstrip().endswith('ENTRYPOINT ["/flowgauge"]')
    for source in re.findall(r"^(?:COPY|RUN) (packages\S*)", text, re.MULTILINE):
        assert (TOP / source).exists(), source


def show():
    """All cases as JSON: flags, environment, capabilities and rules of the role."""
    shown = {}
    for name, values in cases().items():
        made = objects(values)
        box = container(made)
        shown[name] = {
            "args": box["args"],
            "capabilities": box["securityContext"]["capabilities"]["add"],
            "role": [rule for role in of_kind(made, "ClusterRole") for rule in role["rules"]],
        }
    print(json.dumps(shown))


CHECKS = [lint, validate, strictness, refusals, schema, rules, dashboards, release, probes, names, mounts, image, show]
{check.__name__: check for check in CHECKS}[sys.argv[1]]()
