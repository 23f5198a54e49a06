#!/bin/sh
# KServe: an InferenceService of << ref >>.
#   argosy image build << ref >> -o << image >>
set -eu
cd "$(dirname "$0")"

kubectl apply -f serving-runtime.yaml -f inference-service.yaml
kubectl wait --namespace << namespace >> --for condition=Ready --timeout 300s inferenceservice/<< name >>

# One request, from within the cluster's network.
url=$(kubectl get --namespace << namespace >> inferenceservice << name >> -o 'jsonpath={.status.url}')
curl -sS --fail-with-body "$url/v1/models/<< name >>:predict" -H 'Content-Type: application/json' -d @request.json

# To remove it:
#   kubectl delete -f inference-service.yaml -f serving-runtime.yaml
