{{- define "lychgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /*
At most 52 letters, so that what is appended to it, and a pod's number, still fit. A name that is cut
keeps a digest of the whole, because it may differ from another only at its end.
*/}}
{{- define "lychgate.fullname" -}}
{{- $name := include "lychgate.name" . }}
{{- $full := .Values.fullnameOverride }}
{{- if not $full }}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- end }}
{{- /* A release may have a dot, a Service may not. */}}
{{- $full = $full | replace "." "-" }}
{{- if gt (len $full) 52 }}
{{- $full = printf "%s-%s" ($full | trunc 43 | trimSuffix "-") (sha256sum $full | trunc 8) }}
{{- end }}
{{- $full }}
{{- end }}

{{- define "lychgate.selector" -}}
app.kubernetes.io/name: {{ include "lychgate.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* A text as a label's value: a version may hold a plus sign (`0.1.0+abc`), a label may not. */}}
{{- define "lychgate.label" -}}
{{- regexReplaceAll "[^A-Za-z0-9]+$" (. | replace "+" "_" | trunc 63) "" | quote }}
{{- end }}

{{- define "lychgate.labels" -}}
{{ include "lychgate.selector" . }}
app.kubernetes.io/version: {{ include "lychgate.label" .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ include "lychgate.label" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- end }}

{{- /* The map `own`, and the maps of values beside it by their names, which may not repeat its keys. */}}
{{- define "lychgate.join" -}}
{{- $all := deepCopy .own }}
{{- range $value, $given := omit . "own" }}
{{- range $key, $text := $given }}
{{- if hasKey $.own $key }}
{{- fail (printf "%s: %s is the chart's own" $value $key) }}
{{- end }}
{{- $_ := set $all $key $text }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /*
What stands in every object's metadata. `root` is the root context; `suffix` follows the gate's name, or
`name` takes its place; `own` are labels beside the usual ones, `labels` those of values by the values'
names.
*/}}
{{- define "lychgate.metadata" -}}
{{- $own := merge (include "lychgate.labels" .root | fromYaml) (default dict .own) -}}
name: {{ default (printf "%s%s" (include "lychgate.fullname" .root) (default "" .suffix)) .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "lychgate.join" (merge (dict "own" $own "commonLabels" .root.Values.commonLabels) (default dict .labels)) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Those members of a map that are given, to be passed on as they are. */}}
{{- define "lychgate.given" -}}
{{- $given := dict }}
{{- range $key := rest . }}
{{- with index (first $) $key }}
{{- $_ := set $given $key . }}
{{- end }}
{{- end }}
{{- with $given }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- define "lychgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lychgate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: which one, when none is made?" .Values.serviceAccount.name }}
{{- end }}
{{- end }}
