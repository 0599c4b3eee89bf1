{{- /*
A chart that depends on this one writes, with its root context:

    metadata.annotations      {{- include "lychgate.sidecar.annotations" . }}
    spec.initContainers       {{- include "lychgate.sidecar.container" . }}
    spec.volumes              {{- include "lychgate.sidecar.volumes" . }}
    a file of its own         {{- include "lychgate.sidecar.configmap" . }}
*/}}

{{- /*
Its values, and `version`, found by an annotation of Chart.yaml: under `alias:` the chart has another name.
*/}}
{{- define "lychgate.sidecar.values" -}}
{{- $found := list }}
{{- range .Subcharts }}
{{- if index .Chart.Annotations "lychgate/sidecar" }}
{{- $found = append $found (merge (dict "version" .Chart.AppVersion) .Values) }}
{{- end }}
{{- end }}
{{- if ne (len $found) 1 }}
{{- fail (printf "lychgate-sidecar: %s must depend on it once, not %d times" .Chart.Name (len $found)) }}
{{- end }}
{{- first $found | toJson }}
{{- end }}

{{- /* The chart's name is part of it, because an umbrella chart may hold several with a sidecar. */}}
{{- define "lychgate.sidecar.name" -}}
{{- printf "%s-%s-lychgate" .Release.Name .Chart.Name }}
{{- end }}

{{- define "lychgate.sidecar.url" -}}
{{- $values := include "lychgate.sidecar.values" . | fromJson -}}
http://127.0.0.1:{{ $values.port }}
{{- end }}

{{- define "lychgate.sidecar.image" -}}
{{- $values := include "lychgate.sidecar.values" . | fromJson }}
{{- with $values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- /* A version may hold a plus sign, a tag may not. */}}
{{- printf "%s:%s" .repository (default ($values.version | replace "+" "_") .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The configuration file: a forwarder, unless `config` makes something else of it. */}}
{{- define "lychgate.sidecar.config" -}}
{{- $values := include "lychgate.sidecar.values" . | fromJson }}
{{- $ca := ternary "/etc/lychgate/ca/ca.crt" "system" (ne $values.gate.ca.configMap "") }}
{{- $listener := dict
      "address" (printf "127.0.0.1:%v" $values.port)
      "principal" (dict "name" (default .Release.Name $values.principal)) }}
{{- /* Longer than the central gate's own limits together, so that its answer is the one that is seen. */}}
{{- $config := dict
      "listen" (list $listener)
      "admin" (dict "address" (printf "0.0.0.0:%v" $values.adminPort))
      "timeouts" (dict "request" "45s" "drain" "25s") }}
{{- if not $values.config.upstreams }}
{{- $endpoint := required "lychgate-sidecar.gate.endpoint: where is the central gate?" $values.gate.endpoint }}
{{- $upstream := dict "name" "central" "kind" "gate" "endpoint" $endpoint "token" "/etc/lychgate/token/token" "ca" $ca }}
{{- $_ := set $config "upstreams" (list $upstream) }}
{{- end }}
{{- mergeOverwrite $config $values.config | toYaml }}
{{- end }}

{{- /* A changed configuration needs new pods. */}}
{{- define "lychgate.sidecar.annotations" -}}
checksum/lychgate: {{ include "lychgate.sidecar.config" . | sha256sum }}
{{- end }}

{{- /*
An init container that stays: it is ready before the workload starts, it ends after the workload, and
a Job is complete without it.
*/}}
{{- define "lychgate.sidecar.container" -}}
{{- $values := include "lychgate.sidecar.values" . | fromJson }}
- name: lychgate
  image: {{ include "lychgate.sidecar.image" . | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  restartPolicy: Always
  args: [serve, --config, /etc/lychgate/config/lychgate.yaml]
  {{- with $values.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - {name: lychgate-admin, containerPort: {{ $values.adminPort }}}
  securityContext:
    {{- toYaml $values.securityContext | nindent 4 }}
  # The workload starts when deletes can be sent.
  startupProbe:
    httpGet: {path: /readyz, port: lychgate-admin}
    {{- with $values.probes.startup }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  livenessProbe:
    httpGet: {path: /livez, port: lychgate-admin}
    {{- with $values.probes.liveness }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  volumeMounts:
    - {name: lychgate-config, mountPath: /etc/lychgate/config, readOnly: true}
    - {name: lychgate-token, mountPath: /etc/lychgate/token, readOnly: true}
    {{- if $values.gate.ca.configMap }}
    - {name: lychgate-ca, mountPath: /etc/lychgate/ca, readOnly: true}
    {{- end }}
    {{- with $values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* The token is the workload's identity at the central gate; no other container mounts it. */}}
{{- define "lychgate.sidecar.volumes" -}}
{{- $values := include "lychgate.sidecar.values" . | fromJson }}
- name: lychgate-config
  configMap:
    name: {{ include "lychgate.sidecar.name" . | quote }}
- name: lychgate-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ $values.gate.audience | quote }}
          expirationSeconds: 3600
{{- with $values.gate.ca.configMap }}
- name: lychgate-ca
  configMap:
    name: {{ . | quote }}
    items: [{key: {{ $values.gate.ca.key | quote }}, path: ca.crt}]
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lychgate.sidecar.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "lychgate.sidecar.name" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
  labels:
    app.kubernetes.io/name: lychgate-sidecar
    app.kubernetes.io/instance: {{ .Release.Name | quote }}
    app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
data:
  lychgate.yaml: |
    {{- include "lychgate.sidecar.config" . | nindent 4 }}
{{- end }}
