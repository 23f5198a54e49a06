"""From a job to its plan: the files found, their columns tried against the model, the fragments cut."""

import time

from argosy.batch import columns
from argosy.batch.find import find
from argosy.batch.fragment import Fragment
from argosy.batch.plan import Model, Plan, freeze
from argosy.batch.source import source
from argosy.spec.batch import BatchJob
from argosy.spec.signature import Signature


def prepare(job: BatchJob, model: Model, signature: Signature) -> Plan:
    """The plan. Raises NotFound without input, InvalidArgument for files whose columns do not fit the model or each
    other, Unsupported for a model whose answers do not belong to rows.
    """
    files = find(job.inputs)
    reader = source(files[0].format)
    mapping = columns.plan(signature, reader.schema(files[0]), job)
    fragments: list[Fragment] = []
    for file in files:
        mapping.check(reader.schema(file), file.url)
        fragments += reader.plan(file, job.fragment_rows)
    return freeze(job, model, fragments, time.time())
