{{- /* What the objects of a release are called. */ -}}

{{- define "operator.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "operator.name" .) -}}
{{- end -}}

{{- /* The Lease that the operators of an installation compete for; names.py calls it the same. */ -}}
{{- define "operator.lease" -}}
modelservice-operator-{{ .Values.installation }}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: modelservice
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* The operator's configuration file. */ -}}
{{- define "operator.config" -}}
installation: {{ .Values.installation }}
images:
  server: {{ include "operator.image" .Values.images.server }}
watch:
  {{- toYaml .Values.watch | nindent 2 }}
accelerators:
  {{- toYaml .Values.accelerators | nindent 2 }}
limits:
  {{- toYaml .Values.limits | nindent 2 }}
trustedKeys:
  {{- toYaml .Values.trustedKeys | nindent 2 }}
{{- $monitoring := deepCopy .Values.monitoring }}
{{- if $monitoring.namespaces }}
{{- $_ := set $monitoring "namespaces" (append $monitoring.namespaces .Release.Namespace | uniq) }}
{{- end }}
monitoring:
  {{- toYaml $monitoring | nindent 2 }}
prometheus:
  {{- toYaml .Values.prometheus | nindent 2 }}
evidence:
  {{- toYaml .Values.evidence | nindent 2 }}
autoscaling:
  {{- toYaml .Values.autoscaling | nindent 2 }}
{{- end -}}

{{- define "operator.image" -}}
{{ .repository }}:{{ .tag }}
{{- end -}}
