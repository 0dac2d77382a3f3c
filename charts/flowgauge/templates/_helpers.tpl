{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* Name of the objects, at most 52 characters so that a suffix fits. */}}
{{- define "flowgauge.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* By these pods are found; they never change, and say nothing of the chart's version. */}}
{{- define "flowgauge.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "flowgauge.labels" -}}
{{ include "flowgauge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: flowgauge
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "flowgauge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "flowgauge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "flowgauge.image" -}}
{{- with .Values.image -}}
{{- $image := .repository -}}
{{- if .registry }}{{ $image = printf "%s/%s" (trimSuffix "/" .registry) .repository }}{{ end -}}
{{- if .digest -}}
{{- printf "%s@%s" $image .digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The API is asked for names. */}}
{{- define "flowgauge.asksApi" -}}
{{- if ne .Values.kubernetes.mode "off" }}true{{ end -}}
{{- end -}}

{{/* Outside of the host's network namespace, the socket for its address translations has to be opened there. */}}
{{- define "flowgauge.capabilities" -}}
{{- $capabilities := .Values.capabilities -}}
{{- if and (not .Values.hostNetwork) (include "flowgauge.asksApi" .) (ne .Values.kubernetes.conntrack "off") -}}
{{- $capabilities = append $capabilities "SYS_ADMIN" | uniq -}}
{{- end -}}
{{- toYaml $capabilities -}}
{{- end -}}

{{/* There is a web configuration. */}}
{{- define "flowgauge.hasWebConfig" -}}
{{- if or .Values.webConfig.content .Values.webConfig.existingSecret }}true{{ end -}}
{{- end -}}

{{/* The web configuration that the chart can see asks for TLS. */}}
{{- define "flowgauge.hasTls" -}}
{{- if .Values.webConfig.content.tls_server_config }}true{{ end -}}
{{- end -}}

{{/* Where Prometheus is told how to scrape; `auto` is what the web configuration says. Takes (list root scheme). */}}
{{- define "flowgauge.scheme" -}}
{{- $root := index . 0 -}}
{{- $scheme := index . 1 -}}
{{- if eq (lower $scheme) "auto" -}}
{{- if include "flowgauge.hasTls" $root }}https{{ else }}http{{ end -}}
{{- else -}}
{{- lower $scheme -}}
{{- end -}}
{{- end -}}

{{/* The kubelet's probe. It has no client certificate, and no password unless a header says one. Takes (list root path). */}}
{{- define "flowgauge.probe" -}}
{{- $root := index . 0 -}}
{{- $path := index . 1 -}}
{{- $values := $root.Values -}}
{{- $kind := $values.probes.kind -}}
{{- if eq $kind "auto" -}}
{{- $kind = "http" -}}
{{- $client := dig "tls_server_config" "client_auth_type" "" $values.webConfig.content -}}
{{- if has $client (list "RequireAnyClientCert" "RequireAndVerifyClientCert") -}}
{{- $kind = "tcp" -}}
{{- else if and (or $values.webConfig.existingSecret $values.webConfig.content.basic_auth_users) (not $values.probes.httpHeaders) -}}
{{- $kind = "tcp" -}}
{{- end -}}
{{- end -}}
{{- if eq $kind "tcp" -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ $path }}
  port: metrics
  scheme: {{ include "flowgauge.scheme" (list $root $values.probes.scheme) | upper }}
  {{- with $values.probes.httpHeaders }}
  httpHeaders:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* What a PodMonitor and a ServiceMonitor have in common. Takes (list root monitor). */}}
{{- define "flowgauge.endpoint" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
port: metrics
path: {{ $root.Values.listen.path }}
scheme: {{ include "flowgauge.scheme" (list $root .scheme) }}
# Labels of ours, such as namespace, would else be called exported_namespace.
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  # The alerts find the exporters by it, whatever the release is called.
  - targetLabel: job
    replacement: flowgauge
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* The program's flags, one a line. */}}
{{- define "flowgauge.args" -}}
{{- $values := .Values -}}
- --web.listen-address=:{{ .Values.listen.port }}
{{- if ne .Values.listen.path "/metrics" }}
- --web.telemetry-path={{ .Values.listen.path }}
{{- end }}
{{- if include "flowgauge.hasWebConfig" . }}
- --web.config.file=/etc/flowgauge/web/web.yml
{{- end }}
- --path.procfs=/host/proc
- --path.sysfs=/host/sys
- --path.cgroup=/host/sys/fs/cgroup
{{- if .Values.hostRoot }}
- --path.rootfs=/host/root
{{- end }}
{{- range $name := keys .Values.collectors | sortAlpha }}
{{- if not (index $values.collectors $name) }}
- --no-collector.{{ $name }}
{{- end }}
{{- end }}
{{- if not .Values.flows.enabled }}
- --web.flows=off
{{- end }}
- --labels.kubernetes={{ .Values.kubernetes.mode }}
{{- if ne .Values.kubernetes.pods "cluster" }}
- --labels.kubernetes.pods={{ .Values.kubernetes.pods }}
{{- end }}
{{- if ne .Values.kubernetes.conntrack "auto" }}
- --labels.conntrack={{ .Values.kubernetes.conntrack }}
{{- end }}
{{- with .Values.kubernetes.proxyContainers }}
- --labels.proxy-containers={{ join "," . }}
{{- end }}
{{- with .Values.labels.add }}
- --labels.add={{ join "," . }}
{{- end }}
{{- with .Values.labels.drop }}
- --labels.drop={{ join "," . }}
{{- end }}
{{- with .Values.labels.servicePorts }}
- --labels.service-ports={{ join "," . }}
{{- end }}
{{- if or .Values.namesFile.content .Values.namesFile.existingConfigMap }}
- --labels.names-file=/etc/flowgauge/names/names.yaml
{{- end }}
{{- if or .Values.externalPatterns.content .Values.externalPatterns.existingConfigMap }}
- --labels.external-patterns=/etc/flowgauge/patterns/patterns.yaml
{{- end }}
{{- range $index, $ranges := .Values.cloudRanges.configMaps }}
{{- range $ranges.keys }}
- --labels.cloud-ranges=/etc/flowgauge/ranges-{{ $index }}/{{ . }}
{{- end }}
{{- end }}
{{- range .Values.cloudRanges.hostFiles }}
{{- if not $values.hostRoot }}
{{- fail "cloudRanges.hostFiles needs hostRoot: true, through which the program sees the node's files" }}
{{- end }}
- --labels.cloud-ranges=/host/root{{ . }}
{{- end }}
{{- if ne .Values.cloudMetadata "auto" }}
- --labels.cloud-metadata={{ .Values.cloudMetadata }}
{{- end }}
- --series.limit={{ .Values.series.limit | int64 }}
- --series.idle-timeout={{ .Values.series.idleTimeout }}
- --dns.timeout={{ .Values.dns.timeout }}
- --dns.ports={{ join "," .Values.dns.ports }}
{{- if .Values.dns.names }}
- --dns.names={{ .Values.dns.names | int64 }}
{{- end }}
{{- range $name, $mode := .Values.sandbox }}
{{- if ne $mode "auto" }}
- --sandbox.{{ $name }}={{ $mode }}
{{- end }}
{{- end }}
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What cannot be, told in a sentence. */}}
{{- define "flowgauge.refuse" -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor and serviceMonitor are both enabled: every node would be scraped twice; choose one, best podMonitor" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.hostNetwork -}}
{{- fail "networkPolicy does not hold for pods in the host's network namespace: set hostNetwork: false (and read what is missing then), or ask for passwords or certificates with webConfig" -}}
{{- end -}}
{{- if and .Values.webConfig.content .Values.webConfig.existingSecret -}}
{{- fail "webConfig has both content and existingSecret: choose one" -}}
{{- end -}}
{{- if and .Values.namesFile.content .Values.namesFile.existingConfigMap -}}
{{- fail "namesFile has both content and existingConfigMap: choose one" -}}
{{- end -}}
{{- if and .Values.externalPatterns.content .Values.externalPatterns.existingConfigMap -}}
{{- fail "externalPatterns has both content and existingConfigMap: choose one" -}}
{{- end -}}
{{- end -}}
