"""Problems for `prove.planner`, of prices and round trips of shared/data, seeded.

A replica's speed is a roofline: prompts by the GPU's operations, answers by its memory bandwidth, at a quarter and all
of what is on its data sheet, which gives the 7.5 requests per second of a 7B model on an A100 (512 tokens in, 128 out)
of shared/data within a third. Latency is that to the first token. Quotas and demand are drawn.
"""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from argosy.capacity.planner.problem import Demand, Problem, Profile, Supply
from argosy.spec.offer import Market

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CITIES = {
    "Washington DC": "us-east-1",
    "Dallas": "us-west-2",
    "Toronto": "ca-central-1",
    "Frankfurt": "eu-central-1",
    "London": "eu-west-2",
    "Madrid": "eu-south-2",
    "Tokyo": "ap-northeast-1",
    "Osaka": "ap-northeast-2",
    "Sydney": "ap-southeast-2",
    "Sao Paulo": "sa-east-1",
}
"""The regions of the table of round trips, and of which region of AWS they have the prices."""
EUROPE = ("Frankfurt", "London", "Madrid")
PEOPLE = (0.2, 0.12, 0.06, 0.12, 0.12, 0.06, 0.12, 0.06, 0.06, 0.08)
BUCKETS = {"short": (256, 128, 0.75), "long": (2048, 256, 0.25)}
"""Tokens in, tokens out, share of the requests."""
SIZES = (1, 3, 7, 8, 13, 34, 70, 180)


class Gpu(NamedTuple):
    """GiB, TB/s, Tflop/s (16 bits, dense); where the catalogue has no price of it, one."""

    memory: float
    bandwidth: float
    speed: float
    price: float = 0.0


GPUS = {
    "V100": Gpu(16, 0.9, 112),
    "L4": Gpu(24, 0.3, 121),
    "L40S": Gpu(48, 0.864, 362),
    "A100": Gpu(40, 1.555, 312),
    "A100-80GB": Gpu(80, 2.04, 312),
    "H100": Gpu(80, 3.35, 989),
    "H200": Gpu(141, 4.8, 989),
    "B200": Gpu(180, 8.0, 2250),
    "A6000": Gpu(48, 0.768, 155),
    "L40": Gpu(48, 0.864, 181),
    "RTX-PRO-6000": Gpu(96, 1.79, 503),
    "B300": Gpu(288, 8.0, 2500),
}


def prices() -> dict[tuple[str, str, str], float]:
    """By GPU, region and market, per GPU and hour: the least of the catalogue's; region "" has the median."""
    found = defaultdict[tuple[str, str, str], list[float]](list)
    with (DATA / "skypilot_catalog" / "gpu_prices_v8_extract.csv").open() as file:
        for row in csv.DictReader(file):
            both = row["ondemand_usd_per_hour"], row["spot_usd_per_hour"]
            for market, price in zip(("on_demand", "spot"), both, strict=True):
                if price and not (market == "spot" and price == both[0]):
                    for region in (row["region"], ""):
                        found[row["gpu"], region, market].append(float(price) / int(row["gpu_count"]))
    return {key: median(each) if not key[1] else min(each) for key, each in found.items()}


def round_trips() -> dict[str, dict[str, float]]:
    """Seconds between cities."""
    found = defaultdict[str, dict[str, float]](dict)
    with (DATA / "latency" / "ibm_interregion_rtt_ms_2024-09.csv").open() as file:
        for row in csv.DictReader(file):
            found[row["src"]][row["dst"]] = float(row["avg_rtt_ms"]) / 1000
    return dict(found)


def supplies(random: np.random.Generator, regions: dict[str, str], gpus: list[str], machines: int) -> list[Supply]:
    """A region has machines of 8 GPUs of each kind, in both markets. Where the catalogue has no price, it is the
    median's times what regions differ by."""
    known, made = prices(), list[Supply]()
    for region, city in regions.items():
        dear = random.uniform(0.95, 1.25)
        for gpu in gpus:
            on_demand = known.get((gpu, CITIES[city], "on_demand"), known[gpu, "", "on_demand"] * dear)
            spot = known.get((gpu, CITIES[city], "spot"), on_demand * random.uniform(0.25, 0.6))
            offers: list[tuple[Market, float]] = [("on_demand", on_demand), ("spot", min(spot, on_demand * 0.9))]
            for market, price in offers:
                jitter = random.uniform(0.98, 1.02)
                made.append(
                    Supply(
                        id=f"{region}/{gpu}/{market}",
                        provider="cloud",
                        region=region,
                        gpu=gpu,
                        market=market,
                        count=8,
                        unit="gpu",
                        price=round(8 * price * jitter, 4),
                        quota=int(random.integers(1, machines + 1)),
                    )
                )
    return made


def profiles(random: np.random.Generator, model: str, gpus: list[str]) -> list[Profile]:
    """Of 16 bits, of half of the models also of 8."""
    size = float(random.choice(SIZES)) * random.uniform(0.9, 1.1)
    made = list[Profile]()
    for variant, width in (("fp16", 2.0), ("int8", 1.0))[: 1 + (random.random() < 0.5)]:
        for name in gpus:
            gpu, weights = GPUS[name], size * width
            taken = next((each for each in (1, 2, 4, 8) if weights * 1.3 < gpu.memory * each), 0)
            if not taken:
                continue
            batch = max(1.0, min(64.0, (gpu.memory * taken * 0.95 - weights) / (0.12 * size**0.5)))
            rates, latency = dict[str, float](), dict[str, float]()
            for bucket, (given, wanted, _) in BUCKETS.items():
                prompt = given * 2 * size / (250 * gpu.speed * taken) * random.uniform(0.9, 1.1)
                rates[bucket] = round(1 / (prompt + wanted * weights / (1000 * gpu.bandwidth * taken * batch)), 4)
                latency[bucket] = round(2 * prompt, 4)
            start = round(30 + weights / 0.5, 1)
            made.append(
                Profile(
                    model=model, variant=variant, gpu=name, gpus=taken, rates=rates, latency=latency,
                    start=start, weights=weights * 1e9,
                )
            )  # fmt: skip
    return made


def _slo(random: np.random.Generator, described: list[Profile]) -> dict[str, float]:
    """To the first token, by size of the prompt; three models of ten can wait."""
    if random.random() < 0.3:
        return dict.fromkeys(BUCKETS, 30.0)
    factor, trip = random.uniform(1.2, 3.0), random.uniform(0.05, 0.2)
    return {each: median(one.latency[each] for one in described) * factor + trip for each in BUCKETS}


def draw(seed: int, regions: int = 10, gpus: int = 8, models: int = 50, machines: int = 12) -> Problem:
    """A problem, of which the demand is yet to be scaled."""
    random = np.random.default_rng(seed)
    cities = list(CITIES)
    places = {f"{cities[at % 10]}{'' if at < 10 else f' {at // 10 + 1}'}": cities[at % 10] for at in range(regions)}
    kinds, trips = list(GPUS)[:gpus], round_trips()
    demands, described = list[Demand](), list[Profile]()
    for at in range(models):
        model = f"model-{at + 1:03}"
        described += profiles(random, model, kinds)
        share = random.dirichlet(np.array(PEOPLE) * 10)
        bound = random.random() < 0.2
        slo = _slo(random, [each for each in described if each.model == model])
        inside = tuple(each for each, city in places.items() if city in EUROPE)
        for city, part in zip(cities, share, strict=True):
            for bucket, (_, _, often) in BUCKETS.items():
                demands.append(
                    Demand(
                        model=model,
                        area=city,
                        bucket=bucket,
                        slo=slo[bucket],
                        rate=part * often / (at + 1) ** 0.9,
                        regions=inside if bound and city in EUROPE else (),
                        penalty=0.05,
                    )
                )
    return Problem(
        supplies=tuple(supplies(random, places, kinds, machines)),
        demands=tuple(demands),
        profiles=tuple(described),
        rtt={area: {place: trips[area][city] for place, city in places.items()} for area in trips},
        transfer=dict.fromkeys(places, 0.02),
        loss_floor=0.8,
        spot_share=0.6,
    )
