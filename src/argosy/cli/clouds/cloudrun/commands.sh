#!/bin/sh
# Cloud Run: a service of << ref >>.
# Cloud Run pulls images from Artifact Registry:
#   argosy image build << ref >> -o << image >>
set -eu
cd "$(dirname "$0")"

# Each version is a revision of the service; the last one gets the traffic.
gcloud run services replace service.yaml --project << project >> --region << region >>

# One request. The service asks for a token of whoever has the role run.invoker.
url=$(gcloud run services describe << name >> --project << project >> --region << region >> --format 'value(status.url)')
curl -sS --fail-with-body "$url/invocations" -H 'Content-Type: application/json' \
  -H "Authorization: Bearer $(gcloud auth print-identity-token)" -d @request.json

# To remove it:
#   gcloud run services delete << name >> --project << project >> --region << region >>
