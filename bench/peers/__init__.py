"""One idiomatic single-process server of each peer, every one for the same ONNX file and the same request body.

Each file is run by the interpreter of its peer's own environment, so nothing here is imported by the harness. They read
`BENCH_MODEL` (the ONNX file) and `BENCH_PORT`; one ONNX Runtime thread everywhere.
"""
