{{- /* The configuration file; what it asks of the pod is there, or it is refused here. */}}
{{- define "lychgate.config" -}}
{{- include "lychgate.guard" . }}
{{- $config := deepCopy .Values.config }}
{{- $budgets := $config.budgets | default dict }}
{{- if not $budgets.store }}
{{- /* Gates that count by themselves have a part each. */}}
{{- $_ := set $config "budgets" (merge (dict) $budgets (dict "replicas" (int64 .Values.replicas))) }}
{{- end }}
{{- $text := toYaml $config }}
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

{{- /* What Kubernetes would take, and what would then never work. */}}
{{- define "lychgate.guard" -}}
{{- if not .Values.enabled }}
{{- fail "enabled: this is for the `condition` of an umbrella chart; to have no gate, do not install the chart" }}
{{- end }}
{{- if not .Values.config.upstreams }}
{{- fail "config.upstreams: name at least one cloud (lychgate.example.yaml shows how)" }}
{{- end }}
{{- if not (or .Values.policies.files .Values.policies.configMaps) }}
{{- fail "policies.files, policies.configMaps: a gate without policies never gets ready" }}
{{- end }}
{{- if include "lychgate.isLoopback" .Values.config.admin.address }}
{{- fail "config.admin.address: probes and scrapes come from outside the pod, for example to 0.0.0.0:8481" }}
{{- end }}
{{- if eq (include "lychgate.dataPort" .) (include "lychgate.adminPort" .) }}
{{- fail "config.admin.address: the port is a data listener's already" }}
{{- end }}
{{- range $section, $directory := dict "ledger" "/var/lib/lychgate" "policies" "/etc/lychgate/policies" }}
{{- $set := dig $section "directory" "" $.Values.config }}
{{- if not (hasPrefix (printf "%s/" $directory) (printf "%s/" (clean $set))) }}
{{- fail (printf "config.%s.directory: the volume is mounted at %s, not at %q" $section $directory $set) }}
{{- end }}
{{- end }}
{{- $parts := dig "budgets" "replicas" .Values.replicas .Values.config }}
{{- if lt (int64 $parts) (int64 .Values.replicas) }}
{{- fail (printf "config.budgets.replicas: %v gates with a part for %v each would delete more than the budgets allow; leave it out, and it follows replicas" .Values.replicas $parts) }}
{{- end }}
{{- $shadow := dig "policies" "shadow" "directory" "" .Values.config }}
{{- if and $shadow (not (include "lychgate.hasShadow" .)) }}
{{- fail "shadow.files, shadow.configMaps: config.policies.shadow needs policies: put them here, or leave it out" }}
{{- end }}
{{- if and (include "lychgate.hasShadow" .) (ne (clean $shadow) "/etc/lychgate/shadow") }}
{{- fail (printf "config.policies.shadow.directory: the volume is mounted at /etc/lychgate/shadow, not at %q" $shadow) }}
{{- end }}
{{- $drain := dig "timeouts" "drain" "25s" .Values.config }}
{{- $stop := addf .Values.preStopSeconds (include "lychgate.seconds" $drain) }}
{{- if le (float64 .Values.terminationGracePeriodSeconds) $stop }}
{{- fail (printf "terminationGracePeriodSeconds: must exceed preStopSeconds and config.timeouts.drain together, %v s" $stop) }}
{{- end }}
{{- if eq .Values.service.type "ClusterIP" }}
{{- range list "externalTrafficPolicy" "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if index $.Values.service . }}
{{- fail (printf "service.%s: a Service of type ClusterIP has none" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- /*
Another name would mean other volumes, and so ledgers that begin anew. Found only where helm may ask the
cluster: not by `helm template`.
*/}}
{{- range (lookup "apps/v1" "StatefulSet" .Release.Namespace "").items }}
{{- $chart := regexReplaceAll "-[0-9]+\\.[^.]*\\..*$" (dig "labels" "helm.sh/chart" "" .metadata) "" }}
{{- $release := dig "annotations" "meta.helm.sh/release-name" "" .metadata }}
{{- if and (eq $chart $.Chart.Name) (eq $release $.Release.Name) (ne .metadata.name (include "lychgate.fullname" $)) }}
{{- fail (printf "fullnameOverride, nameOverride: the gates of this release are called %s; under another name they would start with empty ledgers. Set fullnameOverride to %s, or delete that StatefulSet first" .metadata.name .metadata.name) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The seconds of a duration of the configuration, such as 300ms or 25s. */}}
{{- define "lychgate.seconds" -}}
{{- $unit := dict "ms" 0.001 "s" 1 "m" 60 "h" 3600 "d" 86400 }}
{{- mulf (regexFind "^[0-9]+" .) (index $unit (regexFind "[a-z]+$" .)) }}
{{- end }}

{{- /* Something for an address that only its own pod reaches. */}}
{{- define "lychgate.isLoopback" -}}
{{- regexFind "^(127\\.|localhost|\\[::1\\]|\\[::ffff:127\\.)" . }}
{{- end }}

{{- define "lychgate.port" -}}
{{- $port := regexFind ":[1-9][0-9]*$" . | trimPrefix ":" }}
{{- required (printf "config: the address %q needs a port, as in 0.0.0.0:8480" .) $port }}
{{- end }}

{{- /* The port of the first listener that other pods reach. */}}
{{- define "lychgate.dataPort" -}}
{{- $ports := list }}
{{- range .Values.config.listen }}
{{- if and .address (not (include "lychgate.isLoopback" .address)) }}
{{- $ports = append $ports (include "lychgate.port" .address) }}
{{- end }}
{{- end }}
{{- required "config.listen: the Service needs a listener that other pods reach, such as 0.0.0.0:8480; a socket and a loopback address are the pod's own" (first $ports) }}
{{- end }}

{{- define "lychgate.adminPort" -}}
{{- include "lychgate.port" .Values.config.admin.address }}
{{- end }}

{{- /*
The ConfigMap of the configuration is called after its content: pods that have not been replaced yet keep
theirs, whatever an upgrade brings.
*/}}
{{- define "lychgate.configSuffix" -}}
{{- printf "-%s" (include "lychgate.config" . | sha256sum | trunc 10) }}
{{- end }}

{{- /* A ConfigMap's key for a path of the policy directory. */}}
{{- define "lychgate.key" -}}
{{- . | replace "/" "." }}
{{- end }}

{{- /* The files of a policy directory as a ConfigMap's data. */}}
{{- define "lychgate.policies" -}}
{{- range $path, $text := . }}
{{ include "lychgate.key" $path | quote }}: |
  {{- $text | trimSuffix "\n" | nindent 2 }}
{{- end }}
{{- end }}
