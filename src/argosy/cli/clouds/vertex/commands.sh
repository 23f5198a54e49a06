#!/bin/sh
# Vertex AI: an endpoint of << ref >> (<< digest >>).
# Vertex AI pulls images from Artifact Registry:
#   argosy image build << ref >> -o << image >>
set -eu
cd "$(dirname "$0")"

# The model: the body of the API's models.upload. Vertex AI says by AIP_* where to listen, and the image obeys.
curl -sS --fail-with-body -X POST -H "Authorization: Bearer $(gcloud auth print-access-token)" \
  -H 'Content-Type: application/json' -d @model.json \
  https://<< region >>-aiplatform.googleapis.com/v1/projects/<< project >>/locations/<< region >>/models:upload

# The first time: an endpoint.
gcloud ai endpoints create --project << project >> --region << region >> --display-name << name >> --endpoint-id << name >>
# Each version; all traffic goes to it.
gcloud ai endpoints deploy-model << name >> --project << project >> --region << region >> --model << revision >> \
  --display-name << revision >> --machine-type << machine >> --min-replica-count 1 --max-replica-count 2 --traffic-split 0=100

# One request; and one with the Open Inference Protocol, which raw prediction passes on as it is:
gcloud ai endpoints predict << name >> --project << project >> --region << region >> --json-request request.json
#   gcloud ai endpoints raw-predict << name >> --project << project >> --region << region >> --request @tensors.json

# To remove all of it: undeploy the deployed model that `gcloud ai endpoints describe` names, then
#   gcloud ai endpoints delete << name >> --project << project >> --region << region >>
#   gcloud ai models delete << revision >> --project << project >> --region << region >>
