#!/bin/sh
# SageMaker: an endpoint of << ref >> (<< digest >>).
# SageMaker pulls images from ECR alone, and the repository must exist before the push:
#   aws ecr create-repository --region << region >> --repository-name << repository >>
#   aws ecr get-login-password --region << region >> | argosy registry login << registry >> --username AWS --password-stdin
#   argosy image build << ref >> -o << image >>
set -eu
cd "$(dirname "$0")"

# A model and the configuration of an endpoint never change: a new version has new names.
aws sagemaker create-model --region << region >> --cli-input-json file://model.json
aws sagemaker create-endpoint-config --region << region >> --cli-input-json file://endpoint-config.json

# The first time; later versions go by  aws sagemaker update-endpoint  with the same options.
aws sagemaker create-endpoint --region << region >> --endpoint-name << name >> --endpoint-config-name << revision >>
aws sagemaker wait endpoint-in-service --region << region >> --endpoint-name << name >>

# One request.
aws sagemaker-runtime invoke-endpoint --region << region >> --endpoint-name << name >> \
  --content-type application/json --body fileb://request.json /dev/stdout
<% if bucket %>

# Batch: the lines of the CSV files below << bucket >>/input, without headers.
#   aws sagemaker create-transform-job --region << region >> --cli-input-json file://transform-job.json
<% endif %>

# To remove all of it:
#   aws sagemaker delete-endpoint --region << region >> --endpoint-name << name >>
#   aws sagemaker delete-endpoint-config --region << region >> --endpoint-config-name << revision >>
#   aws sagemaker delete-model --region << region >> --model-name << revision >>
