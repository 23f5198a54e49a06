#!/bin/sh
# Azure Machine Learning: an endpoint of << ref >>. Group and workspace are those of `az configure --defaults`.
# The workspace pulls images from its Azure Container Registry:
#   argosy image build << ref >> -o << image >>
set -eu
cd "$(dirname "$0")"

# The first time.
az ml online-endpoint create --file endpoint.yml
# Each version, with all traffic.
az ml online-deployment create --file deployment.yml --all-traffic

# One request.
az ml online-endpoint invoke --name << name >> --request-file request.json

# To remove all of it:
#   az ml online-endpoint delete --name << name >> --yes
