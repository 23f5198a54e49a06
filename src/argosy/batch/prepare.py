"""From a job to its plan: the files found, their columns tried against the model, the fragments cut."""

import time
from concurrent.futures import ThreadPoolExecutor

from argosy.batch import columns
from argosy.batch.find import find
from argosy.batch.fragment import File, Fragment
from argosy.batch.ledger import TOGETHER
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

    def cut(file: File) -> tuple[list[Fragment], list[str]]:
        schema = reader.schema(file)
        mapping.check(schema, file.url)
        return reader.plan(file, job.fragment_rows), mapping.unused(schema)

    with ThreadPoolExecutor(TOGETHER) as pool:
        found = list(pool.map(cut, files))
    fragments = [fragment for cuts, _ in found for fragment in cuts]
    unused = dict.fromkeys(name for _, names in found for name in names)
    return freeze(job, model, fragments, time.time(), tuple(unused))
