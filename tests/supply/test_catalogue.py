"""Catalogues of prices in three forms, and what of them is not believed."""

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.supply import catalogue
from argosy.supply.catalogue import GIB, gpu_name, read

SKY = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
HUNT = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size\n"


def sky(*rows: str, provider: str = "cloud"):
    return read((SKY + "\n".join(rows) + "\n").encode(), provider, 100.0)


def info(total: int) -> str:
    return f"\"{{'Gpus': [{{'Name': 'X', 'MemoryInfo': {{'SizeInMiB': 1}}}}], 'TotalGpuMemoryInMiB': {total}}}\""


def test_a_row_of_skypilot_is_an_offer_in_each_market():
    demand, spot = sky(f"p5,H100,8,192,2048,{info(655360)},55.04,20.5,us-east-1,use1-az1").offers
    assert (demand.market, demand.price, spot.market, spot.price) == ("on_demand", 55.04, "spot", 20.5)
    assert (spot.gpu, spot.count, spot.gpu_memory) == ("H100", 8, 80 * GIB)
    assert (spot.region, spot.zone, spot.cpus, spot.memory, spot.as_of) == (
        "us-east-1",
        "use1-az1",
        192.0,
        2048 * GIB,
        100.0,
    )


@pytest.mark.parametrize("price", ["", "0.00", "30.0978", "30.09784", "31"])
def test_spot_without_a_discount_is_no_offer(price):
    found = sky(f"p4d,A100,8,96,1152,,30.09784,{price},r,z")
    assert [each.market for each in found.offers] == ["on_demand"]
    assert found.refused == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x,H100,1,8,64,,-2.5,,r,z", "the price is negative"),
        ("x,H100,1,8,64,,2.5,-1,r,z", "the spot price is negative"),
        ("x,H100,1,8,64,,nan,,r,z", "the price is no number"),
        ("x,H100,1,8,64,,inf,,r,z", "the price is no number"),
        ("x,H100,1,8,64,,1e309,,r,z", "the price is no number"),
        ("x,H100,1,8,64,,two,,r,z", "the price is no number"),
        ("x,H100,1,8,64,,,,r,z", "it has no price"),
        ("x,H100,1,8,64,,0,0.00,r,z", "it has no price"),
        ("x,H100,1,8,64,,0.001,,r,z", "its price cannot be true"),
        ("x,H100,1,8,64,,999,,r,z", "its price cannot be true"),
        ("x,,0,8,64,,99999,,r,z", "its price cannot be true"),
        ("x,Z9000,1,8,64,,2.5,,r,z", "the GPU 'Z9000' is not known"),
        ("x,H100,0,8,64,,2.5,,r,z", "it names a GPU, and has none"),
        ("x,L4,0.5,8,64,,2.5,,r,z", "it is a part of a GPU"),
        ("x,L4,5000,8,64,,2.5,,r,z", "it has more than 128 GPUs"),
        ("x,H100,1,-8,64,,2.5,,r,z", "vCPUs is negative"),
        ("x,H100,1,8,9999999,,2.5,,r,z", "it has more vCPUs or memory than any machine"),
        (f"x,H100,1,8,64,{info(2048)},2.5,,r,z", "its H100 would have 2 GiB, and has 80"),
        ("x,H100,1,8,64,,2.5,,,z", "it has no region, or a name that cannot be printed or is too long"),
        ("x,H100,1", "it has more or fewer cells than the first line"),
    ],
)
def test_what_is_not_believed_is_counted_by_its_reason(row, reason):
    found = sky("good,H100,1,8,64,,2.5,,r,z", row, row)
    assert [each.instance for each in found.offers] == ["good"]
    assert [(each.reason, each.count, each.line) for each in found.refused] == [(reason, 2, 3)]


def test_the_memory_of_a_gpu_is_read_from_the_total_whatever_else_a_row_says():
    """Vast's rows say the sum for each GPU, RunPod's GiB for MiB."""
    vast, runpod = sky(
        f'2x,H200,2,32,64,{info(287542)},5.18,0.00,"France, FR, EU",',
        f"2xr,A100-80GB,2,16,234,{info(160)},2.78,2.78,IN,a",
    ).offers
    assert (round(vast.gpu_memory / GIB), vast.region) == (140, "France, FR, EU")
    assert (runpod.gpu_memory, runpod.market) == (80 * GIB, "on_demand")


@pytest.mark.parametrize("text", ["[]", "1", "{", "__import__('os')", "{'TotalGpuMemoryInMiB': None}", "(" * 3000])
def test_what_is_said_of_a_gpu_is_never_run(text):
    assert [each.gpu_memory for each in sky(f'x,H100,1,8,64,"{text}",2.5,,r,z').offers] == [80 * GIB]


def test_machine_and_gpu_priced_apart_are_joined_within_a_zone():
    """skypilot#10199: the cheapest machine of one zone with the cheapest GPU of another is no offer."""
    found = sky(
        "a2-highgpu-1g,,,12,85,,1.0,0.5,r,dear-gpu",
        "a2-highgpu-1g,,,12,85,,3.0,1.5,r,cheap-gpu",
        "a2-highgpu-1g,,,12,85,,0.1,0.1,r,no-gpu",
        ",A100,1,,,,9.0,4.0,r,dear-gpu",
        ",A100,1,,,,2.0,,r,cheap-gpu",
        "g2-standard-48,,,48,192,,1.0,0.5,r,l",
        ",L4,4,,,,2.0,1.0,r,l",
        "n1-highmem-8,,,8,52,,0.5,0.1,r,no-gpu",
    )
    prices = {(each.zone, each.instance, each.market): (each.price, each.gpu, each.count) for each in found.offers}
    assert prices == {
        ("dear-gpu", "a2-highgpu-1g", "on_demand"): (10.0, "A100", 1),
        ("dear-gpu", "a2-highgpu-1g", "spot"): (4.5, "A100", 1),
        ("cheap-gpu", "a2-highgpu-1g", "on_demand"): (5.0, "A100", 1),
        ("l", "g2-standard-48", "on_demand"): (3.0, "L4", 4),
        ("l", "g2-standard-48", "spot"): (1.5, "L4", 4),
        ("no-gpu", "n1-highmem-8", "on_demand"): (0.5, "", 0),
        ("no-gpu", "n1-highmem-8", "spot"): (0.1, "", 0),
    }
    assert [each.reason for each in found.refused] == ["its A100 have no price in its zone"]


def test_rows_of_gpuhunt():
    rows = [
        "VM.1,FIN-02,1.29,22,120,1,A100,80,False,",
        "VM.1,FIN-02,0.65,22,120,1,A100,80,True,",
        "cpu,FIN-02,0.1,4,16,0,,,False,",
    ]
    found = read((HUNT + "\n".join(rows)).encode(), "verda", 1.0).offers
    assert [(each.instance, each.gpu, each.market, each.price) for each in found] == [
        ("VM.1", "A100-80GB", "on_demand", 1.29),
        ("VM.1", "A100-80GB", "spot", 0.65),
        ("cpu", "", "on_demand", 0.1),
    ]


def test_a_plain_file_names_its_providers_and_strangers_are_not_trusted():
    text = "provider,instance_type,gpu,gpu_count,region,ondemand_usd_per_hour\na,x,L4,1,r,1\nb,x,L4,1,r,1\n"
    assert [(each.provider, each.trusted) for each in read(text.encode(), "c", 1.0, ("b",)).offers] == [
        ("a", True),
        ("b", False),
    ]


def test_of_two_prices_of_one_machine_the_dearer_counts():
    found = sky("x,H100,1,8,64,,2.5,,r,z", "x,H100,1,8,64,,3.5,,r,z", "x,H100,1,8,64,,3.0,,r,z")
    assert [each.price for each in found.offers] == [3.5]
    assert found.refused[0].count == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no columns that are known"),
        (b"\xff\xfe\x00", "no CSV in UTF-8"),
        (b"a,b,c\n1,2,3\n", "no columns that are known"),
        (SKY.encode(), "has no offer: 0 of its rows were refused"),
        (f"{SKY}x,H100,1,8,64,,-1,,r,z\n".encode(), "has no offer: 1 of its rows were refused, the first: the price"),
        (f'{SKY}"x,H100'.encode(), "no CSV in UTF-8"),
    ],
)
def test_what_is_no_catalogue(data, words):
    with pytest.raises(InvalidArgument, match=words):
        read(data, "cloud", 1.0)


def test_a_catalogue_that_is_too_large(monkeypatch):
    monkeypatch.setattr(catalogue, "MOST_BYTES", 10)
    with pytest.raises(InvalidArgument, match="more than 10"):
        sky("x,H100,1,8,64,,1,,r,z")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("H100_SXM", "H100"),
        ("A100-SXM4-80GB", "A100-80GB"),
        ("RTX6000Ada", "RTX6000-Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("Tesla T4", "T4"),
        ("h200 nvl", "H200"),
        ("H100-MEGA", "H100-MEGA"),
        ("RTX 4070S Ti", None),
        ("tpu-v5e-8", None),
        ("", None),
    ],
)
def test_names_of_gpus(text, name):
    assert gpu_name(text) == name
