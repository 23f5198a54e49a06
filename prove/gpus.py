"""What `prove.mix` and `prove.independence` read from ../shared/data: prices, round trips, and what replicas do."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

from argosy.capacity.planner.problem import Profile, Supply

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
INPUTS, OUTPUTS = (256, 512, 1024, 2048, 4096, 8192), (32, 128, 256, 512, 1024)
HYPERSCALERS = {"aws", "azure", "gcp"}
PLACES = {
    "Toronto": ("ca-", "CA"), "Dallas": ("us-west", "us-central", "US/us-south", "US/us-west", "US"),
    "Washington DC": ("us-east", "US/us-east", "US/us-midwest", "US/US-1"), "Sao Paulo": ("sa-", "BR"),
    "London": ("eu-west-2", "GB", "NO"), "Madrid": ("eu-south", "ES"),
    "Frankfurt": ("eu-", "DE", "FI", "IS", "FR", "CZ", "DK", "NL", "SE", "RO", "me-", "af-"),
    "Tokyo": ("ap-northeast", "JP"), "Sydney": ("ap-southeast-2", "AU"), "Osaka": ("ap-", "IN"),
}  # fmt: skip
"""Where we take regions to lie: the nearest city of which round trips are known, by the longest beginning of a name."""


def rows(path: str) -> Iterator[dict[str, str]]:
    with (DATA / path).open(newline="") as file:
        yield from csv.DictReader(file)


def city(region: str) -> str:
    """Empty where it is not known where a region lies."""
    found = [(len(each), name) for name, starts in PLACES.items() for each in starts if region.startswith(each)]
    return max(found)[1] if found else ""


def round_trips() -> dict[str, dict[str, float]]:
    """Seconds, from city to city."""
    found: dict[str, dict[str, float]] = {}
    for row in rows("latency/ibm_interregion_rtt_ms_2024-09.csv"):
        found.setdefault(row["src"], {})[row["dst"]] = float(row["avg_rtt_ms"]) / 1000
    return found


def supplies(quota: int, spot: float = 1.0) -> list[Supply]:
    """The cheapest machine of each kind of a provider in a city, `quota` GPUs of each, on demand and spot; what spot
    costs is multiplied by `spot`. A provider is one failure domain."""
    best: dict[str, Supply] = {}
    for row in rows("skypilot_catalog/gpu_prices_v8_extract.csv"):
        place, count = city(row["region"]), int(row["gpu_count"])
        ask, bid = row["ondemand_usd_per_hour"], row["spot_usd_per_hour"]
        prices = {"on_demand": float(ask or "inf"), "spot": float(bid or "inf") * spot}
        if not place or prices["spot"] >= prices["on_demand"]:
            prices.pop("spot")
        for market, price in prices.items() if place else ():
            name = f"{row['provider']}/{place}/{row['gpu']}x{count}/{market}"
            if price < float("inf") and (name not in best or price < best[name].price):
                best[name] = Supply(
                    id=name, provider=row["provider"], region=place, gpu=row["gpu"], price=price, count=count,
                    quota=quota // count, market="spot" if market == "spot" else "on_demand", domain=row["provider"],
                )  # fmt: skip
    return list(best.values())


def shares() -> dict[tuple[int, int], float]:
    """Of the requests of the conversation trace, by the bucket (tokens in and out, at most) they fall into."""
    found = Counter[tuple[int, int]]()
    for row in rows("azure_llm/AzureLLMInferenceTrace_2023_conv.csv"):
        tokens_in, tokens_out = int(row["ContextTokens"]), int(row["GeneratedTokens"])
        into = next((each for each in INPUTS if tokens_in <= each), INPUTS[-1])
        out = next((each for each in OUTPUTS if tokens_out <= each), OUTPUTS[-1])
        found[into, out] += 1
    total = sum(found.values())
    return {bucket: count / total for bucket, count in found.items() if count / total > 0.002}


def profiles(model: str, per_token: float, name: str = "") -> list[Profile]:
    """By kind of GPU and number of them: requests per second of each bucket, with at most so many seconds per token.

    Of a request's time in a batch of B each token takes the step of a batch of B, and the share of the prompts that
    are read in between: B prompts in the time of all tokens of an answer.
    """
    times: dict[tuple[str, int], dict[str, dict[int, list[float]]]] = {}
    for row in rows("throughput/splitwise_perf_model.csv"):
        kind = {"a100-80gb": "A100-80GB", "h100-80gb": "H100"}.get(row["hardware"])
        if row["model"] != model or kind is None:
            continue
        known = times.setdefault((kind, int(row["tensor_parallel"])), {"prompt": {}, "step": {}})
        if row["batch_size"] == "1":
            known["prompt"].setdefault(int(row["prompt_size"]), []).append(float(row["prompt_time"]) / 1000)
        if row["prompt_size"] == "512":
            known["step"].setdefault(int(row["batch_size"]), []).append(float(row["token_time"]) / 1000)
    found = list[Profile]()
    for (gpu, count), known in sorted(times.items()):
        sizes, batches = sorted(known["prompt"]), sorted(known["step"])
        prompt = {each: float(np.interp(each, sizes, [fmean(known["prompt"][at]) for at in sizes])) for each in INPUTS}
        batch = np.arange(1, batches[-1] + 1)
        step = np.interp(batch, batches, [fmean(known["step"][at]) for at in batches])
        rates, latency = dict[str, float](), dict[str, float]()
        for tokens_in, tokens_out in shares():
            each = step + batch * prompt[tokens_in] / tokens_out
            able = each <= per_token
            if able.any():
                rates[f"{tokens_in}/{tokens_out}"] = float((batch / (tokens_out * each))[able].max())
                latency[f"{tokens_in}/{tokens_out}"] = prompt[tokens_in]
        if rates:
            made = Profile(
                model=name or model, variant=f"tp{count}", gpu=gpu, gpus=count, rates=rates, latency=latency, start=300
            )
            found.append(made)
    return found
