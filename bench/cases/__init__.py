"""The cases, in the order of the table; each has a NAME, its TARGETS and `run(bench)`."""

from bench.cases import compute, embeddings, gateway, grpc_row, json_row, latency, llm, one_row, start, trees

CASES = [json_row, gateway, grpc_row, compute, start, latency, embeddings, llm, trees, one_row]
