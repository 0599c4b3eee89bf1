{{- /* What every pod of the chart has. */}}
{{- define "lychgate.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with include "lychgate.given" (list .Values "affinity" "dnsConfig" "dnsPolicy" "hostAliases" "imagePullSecrets" "nodeSelector" "priorityClassName" "runtimeClassName" "tolerations") }}
{{ . }}
{{- end }}
{{- end }}

{{- /* What every container of the chart has. */}}
{{- define "lychgate.container" -}}
image: {{ include "lychgate.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- define "lychgate.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- /* A version may hold a plus sign, a tag may not. */}}
{{- printf "%s:%s" .repository (default ($.Chart.AppVersion | replace "+" "_") .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* How a gate sees its configuration, policies, secrets and ledger. */}}
{{- define "lychgate.mounts" -}}
{{- with include "lychgate.given" (list .Values "env" "envFrom") }}
{{- . }}
{{ end -}}
volumeMounts:
  - {name: config, mountPath: /etc/lychgate/config, readOnly: true}
  - {name: policies, mountPath: /etc/lychgate/policies, readOnly: true}
  {{- if include "lychgate.hasShadow" . }}
  - {name: shadow, mountPath: /etc/lychgate/shadow, readOnly: true}
  {{- end }}
  - {name: ledger, mountPath: /var/lib/lychgate}
  {{- if .Values.tokens }}
  - {name: tokens, mountPath: /etc/lychgate/tokens, readOnly: true}
  {{- end }}
  {{- range $name, $_ := .Values.secrets }}
  - {name: secret-{{ $name }}, mountPath: /etc/lychgate/secrets/{{ $name }}, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* Whether there is a candidate beside the policies in force. */}}
{{- define "lychgate.hasShadow" -}}
{{- if or .Values.shadow.files .Values.shadow.configMaps }}yes{{ end }}
{{- end }}

{{- /* A policy directory as one volume; `files` is the name of the ConfigMap of its files. */}}
{{- define "lychgate.directory" -}}
projected:
  sources:
    {{- if .policies.files }}
    - configMap:
        name: {{ .files | quote }}
        items:
          {{- range $path, $_ := .policies.files }}
          - {key: {{ include "lychgate.key" $path | quote }}, path: {{ $path | quote }}}
          {{- end }}
    {{- end }}
    {{- range .policies.configMaps }}
    - configMap:
        {{- toYaml . | nindent 8 }}
    {{- end }}
{{- end }}

{{- /*
Its volumes, but for the ledger's; `config`, `policies` and `shadow` are the names of the ConfigMaps. Whoever
names none for the candidate does not look at it.
*/}}
{{- define "lychgate.volumes" -}}
{{- with .root.Values -}}
- name: config
  configMap:
    name: {{ $.config | quote }}
    items: [{key: lychgate.yaml, path: lychgate.yaml}]
# One volume, so that a new version of the whole directory comes with one swap.
- name: policies
  {{- include "lychgate.directory" (dict "policies" .policies "files" $.policies) | nindent 2 }}
{{- if include "lychgate.hasShadow" $.root }}
- name: shadow
  {{- if $.shadow }}
  {{- include "lychgate.directory" (dict "policies" .shadow "files" $.shadow) | nindent 2 }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- with .tokens }}
- name: tokens
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      {{- range $name, $token := . }}
      - serviceAccountToken:
          path: {{ $name | quote }}
          {{- with $token.audience }}
          audience: {{ . | quote }}
          {{- end }}
          expirationSeconds: {{ default 3600 $token.expirationSeconds | int64 }}
      {{- end }}
{{- end }}
{{- range $name, $secret := .secrets }}
- name: secret-{{ $name }}
  secret:
    defaultMode: 0440
    {{- toYaml $secret | nindent 4 }}
{{- end }}
{{- with .extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
