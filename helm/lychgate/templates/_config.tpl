{{- /* The configuration file. */}}
{{- define "lychgate.config" -}}
{{- if not .Values.config.upstreams }}
{{- fail "config.upstreams: name at least one cloud (lychgate.example.yaml shows how)" }}
{{- end }}
{{- if not (or .Values.policies.files .Values.policies.configMaps) }}
{{- fail "policies.files, policies.configMaps: a gate without policies never gets ready" }}
{{- end }}
{{- $text := toYaml .Values.config }}
{{- range regexFindAll "/etc/lychgate/secrets/[^/\\s]+/" $text -1 | uniq }}
{{- $name := base . }}
{{- if not (hasKey $.Values.secrets $name) }}
{{- fail (printf "secrets.%s: config names %s…, so say which Secret holds it" $name .) }}
{{- end }}
{{- end }}
{{- range regexFindAll "/etc/lychgate/tokens/[a-z0-9-]+" $text -1 | uniq }}
{{- $name := base . }}
{{- if and (ne $name "ca") (not (hasKey $.Values.tokens $name)) }}
{{- fail (printf "tokens.%s: config names %s, so say for which audience it is" $name .) }}
{{- end }}
{{- end }}
{{- $text }}
{{- end }}

{{- /* The port of an address. */}}
{{- define "lychgate.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{- define "lychgate.dataPort" -}}
{{- include "lychgate.port" (first .Values.config.listen).address }}
{{- end }}

{{- define "lychgate.adminPort" -}}
{{- include "lychgate.port" .Values.config.admin.address }}
{{- end }}

{{- /* A ConfigMap's key for a path of the policy directory. */}}
{{- define "lychgate.key" -}}
{{- . | replace "/" "." }}
{{- end }}
