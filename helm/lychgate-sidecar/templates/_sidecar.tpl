{{- /*
A chart that depends on this one writes, with its root context:

    metadata.annotations      {{- include "lychgate.sidecar.annotations" . }}
    spec.initContainers       {{- include "lychgate.sidecar.container" . }}
    spec.volumes              {{- include "lychgate.sidecar.volumes" . }}
    a file of its own         {{- include "lychgate.sidecar.configmap" . }}
*/}}

{{- define "lychgate.sidecar.values" -}}
{{- index .Values "lychgate-sidecar" | toJson }}
{{- end }}

{{- define "lychgate.sidecar.name" -}}
{{- printf "%s-lychgate" (.Release.Name | trunc 54 | trimSuffix "-") }}
{{- end }}

{{- define "lychgate.sidecar.image" -}}
{{- $values := include "lychgate.sidecar.values" . | fromJson }}
{{- with $values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default (index $.Subcharts "lychgate-sidecar").Chart.AppVersion .tag) }}
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
  image: {{ include "lychgate.sidecar.image" . }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  restartPolicy: Always
  args: [serve, --config, /etc/lychgate/config/lychgate.yaml]
  {{- with $values.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - {name: lychgate-admin, containerPort: {{ $values.adminPort }}}
  securityContext:
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
    readOnlyRootFilesystem: true
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  # The workload starts when deletes can be sent.
  startupProbe:
    httpGet: {path: /readyz, port: lychgate-admin}
    periodSeconds: 1
    failureThreshold: 120
  livenessProbe:
    httpGet: {path: /livez, port: lychgate-admin}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
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
    name: {{ include "lychgate.sidecar.name" . }}
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
    name: {{ . }}
    items: [{key: {{ $values.gate.ca.key }}, path: ca.crt}]
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lychgate.sidecar.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "lychgate.sidecar.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    app.kubernetes.io/name: lychgate-sidecar
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
data:
  lychgate.yaml: |
    {{- include "lychgate.sidecar.config" . | nindent 4 }}
{{- end }}
