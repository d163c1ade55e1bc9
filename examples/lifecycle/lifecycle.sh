#!/usr/bin/env bash
# The life of a model, from its data to its explanations: lifecycle.sh DIR, where DIR receives all that is made on the way.
#
# It needs model-server with its extras train and sign; kubectl for a namespace of a cluster with the operator, and helm; an S3 store:
# AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and in S3_FOR_PODS its address as pods know it; promtool, and in
# PROMETHEUS the address of one that the Prometheus Operator configures. docs/tutorial.md tells it in words; `make lifecycle` brings
# a cluster with all of that, and takes it away again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

step() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

step "data: handwritten digits, and a fifth of them that no model may learn from"
run python3 "$here/../digits/data.py" data

step "train: five folds first, then all rows; stop when it learns no more"
run model-server train --data data/train.npz --held-out data/held-out.npz --loss CrossEntropy --hidden 64 --batch-size 64 \
  --epochs 60 --validation 0.1 --patience 10 --folds 5 --report-dir reports/training --out digits

step "optimise: as small as it may be without being worse"
run model-server optimize digits --data data/train.npz --held-out data/held-out.npz --max-accuracy-loss 0.5 --max-size 40% \
  --neurons 50% --weights 75% --epochs 20 --report-dir reports/optimized --out digits-small

step "evaluate: how good is it, and how sure is that"
run model-server evaluate "file://$PWD/data/held-out.npz" --directory digits-small --confidence 95% --report-dir reports/evaluation \
  --output evaluation.json

step "package: described, proven, signed"
mkdir -p trusted
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem 2>/dev/null
openssl pkey -in key.pem -pubout -out trusted/team-a.pub
run model-server package digits-small --description "Handwritten digits" --evaluation evaluation.json --sign-key key.pem --out digits-1
run model-server inspect digits-1 --trusted-keys trusted

step "push: the model, and the rows by which the cluster judges it"
mkdir -p held-out
cp data/held-out.npz held-out/
run model-server push held-out s3://models/digits-data
run model-server push digits-1 s3://models/digits/1 | tee pushed.json
digest=$(sed -n 's/.*"digest": "\([^"]*\)".*/\1/p' pushed.json)

step "trust: what an administrator does once, for whoever signs"
run helm upgrade modelservice-operator "$here/../../charts/modelservice-operator" --namespace modelservice-system --reuse-values \
  --set-file trustedKeys.team-a=trusted/team-a.pub --wait > /dev/null

step "serve: nothing but what was pushed, and only if it is good enough"
kubectl create secret generic s3-read --from-literal=AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" \
  --from-literal=AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" --from-literal=AWS_ENDPOINT_URL="$S3_FOR_PODS" \
  --dry-run=client --output=yaml | kubectl apply -f -
kubectl patch --local -f "$here/digits.yaml" --type=merge --patch "{\"spec\": {\"model\": {\"digest\": \"$digest\"}}}" \
  --output=yaml > digits.yaml
run kubectl apply -f digits.yaml
run kubectl wait --for=condition=Ready modelservice/digits --timeout=5m
run kubectl get modelservice digits
run kubectl get modelservice digits --output=jsonpath='{range .status.history[*]}{.decision} {.measured}{"\n"}{end}'

step "ask, and ask why"
exec 3< <(exec kubectl port-forward service/digits :8080)
forwarder=$!
trap 'kill $forwarder' EXIT
read -r forwarding <&3 # Forwarding from 127.0.0.1:PORT -> 8080
port=${forwarding#*127.0.0.1:}
url=http://127.0.0.1:${port%% *}/v2/models/digits
run python3 "$here/ask.py" "$url" data/held-out.npz --explain reports/explanation.svg

step "drift: a scanner that sends white digits on black"
query='ALERTS{alertname="ModelServiceInputDrift", modelservice="digits", alertstate="firing"}'
run python3 "$here/ask.py" "$url" data/held-out.npz --inverted
for _ in $(seq 60); do
  python3 "$here/ask.py" "$url" data/held-out.npz --inverted --seconds 5 > /dev/null # the scanner goes on
  if promtool query instant "$PROMETHEUS" "$query" | grep ALERTS; then exit 0; fi
done
echo "no alert was raised" >&2
exit 1
