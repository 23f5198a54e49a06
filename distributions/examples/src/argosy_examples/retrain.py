"""What the trigger of `argosy demo --drift` runs: `python -m argosy_examples.retrain MORNINGS MODEL@ALIAS`.

It gets the labelled rows by the command that the trigger's document names, trains on them together with what the model
was trained on before, pushes the result as the next version and moves the alias to it.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from argosy_examples import evenings
from argosy_examples.needs import require


def main(before: Path, alias: str) -> None:
    """Train in the working directory, which is the trigger's own."""
    told = msgspec.json.decode(Path(os.environ["ARGOSY_TRIGGER"]).read_bytes())
    print(told["reason"], flush=True)
    subprocess.run(told["labelled"], check=True)
    pd: Any = require("pandas")
    rows = pd.concat([pd.read_parquet(before), labelled(pd.read_parquet("labelled.parquet"))])
    print(f"training on {len(rows)} flights", flush=True)
    evenings.train(rows, Path("model.txt"), Path("sample.parquet"))
    name, _, at = alias.partition("@")
    push = ["argosy", "push", "model.txt", "--name", name, "--sample", "sample.parquet", "--alias", at]
    subprocess.run(push, check=True)


def labelled(rows: Any) -> Any:
    """Rows of `argosy feedback export` with the names that the model's columns have."""
    named = {f"input.{name}": name for name in evenings.COLUMNS}
    found = rows.rename(columns=named)[[*evenings.COLUMNS, evenings.LABEL]]
    return found.astype({evenings.LABEL: "i8"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
