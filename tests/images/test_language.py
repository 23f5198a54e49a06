"""The image of a language model: by itself, and as a pod that a platform drives."""

import ssl
from pathlib import Path

import httpx
import msgspec
import pytest

from argosy.control.revision import revision_of
from argosy.images.build import check_servable
from argosy.packaging.package import open_package
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import Unsupported
from argosy.spec.language import Language
from argosy.store.authority import Authority
from argosy.store.version import Version
from argosy.targets.kubernetes.objects import CERTIFICATES, CONFIG, Live, Pods, configuration
from tests import ports
from tests.images.conftest import Layout, argosy, need_debian, unpack
from tests.images.test_contracts import DEVICES, container
from tests.language.packages import fake_package
from tests.language.weights import gemma
from tests.store.samples import model_lineage

ASKED = {"model": "gemma", "prompt": "One, two,", "max_tokens": 4}
Root = tuple[Path, dict]


@pytest.fixture(scope="module")
def generates(cached_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The image of Gemma as a container runtime lays it out, and its configuration."""
    need_debian()
    folder = tmp_path_factory.mktemp("language")
    for each in (folder.parent, folder):
        each.chmod(0o755)
    argosy("push", str(gemma()), "--name", "gemma", home=cached_home)
    argosy("image", "build", "gemma:1", "-o", f"oci:{folder / 'oci'}", home=cached_home)
    (folder / "root").mkdir()
    return folder / "root", unpack(Layout(folder / "oci"), folder / "root")


@pytest.mark.slow
def test_it_answers_by_its_engine_alone(generates: Root):
    port = ports.free()
    with container(generates, 65532, {"ARGOSY_SERVE_PORT": str(port)}, "is ready", DEVICES):
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/completions", json=ASKED, timeout=60, trust_env=False)
    assert answer.json()["usage"]["completion_tokens"] == 4


@pytest.mark.slow
def test_it_answers_as_a_pod_by_tls(generates: Root, tmp_path: Path):
    place, config = generates
    package = open_package(place / "models")
    version = Version(
        name="gemma",
        number=1,
        digest=config["config"]["Labels"]["dev.argosy.model.digest"],
        size=1,
        created="",
        manifest=package.manifest,
        lineage=model_lineage(),
    )
    endpoint = Endpoint(name="gemma", model="gemma:1", language=Language(context=512), runtime=Runtime(threads=1))
    authority = Authority(tmp_path / "tls", "p")
    live = Live(platform="p", identity=authority.identity("gemma", "r", "pods"))
    made = configuration(revision_of(endpoint, version), Pods(image="any", live=live))
    http, front, health = (
        Address(host="127.0.0.1", port=ports.free(), tls=each) for each in (made.http.tls, made.http.tls, None)
    )
    made = msgspec.structs.replace(made, http=http, front=front, health=health)
    file = place / CONFIG.lstrip("/") / "replica.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.encode(made))
    shown = place / CERTIFICATES.lstrip("/")
    authority.tend({shown: live.identity})
    for each in (shown, *shown.iterdir()):
        each.chmod(0o755)
    runs = config | {"config": config["config"] | {"Cmd": ["serve", "--config", f"{CONFIG}/replica.json"]}}
    context = ssl.create_default_context(cafile=live.identity.authorities)
    context.load_cert_chain(live.identity.own("gateway"))
    context.check_hostname = False
    with container((place, runs), 65532, {}, "will listen on", DEVICES):
        while httpx.get(f"http://{health}/v2/health/ready", trust_env=False).status_code != 200:
            pass
        answer = httpx.post(f"https://{front}/v1/completions", json=ASKED, timeout=60, trust_env=False, verify=context)
        assert answer.json()["usage"]["completion_tokens"] == 4
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{front}/v1/models", trust_env=False)


def test_what_an_image_cannot_have_is_said(tmp_path: Path):
    with pytest.raises(Unsupported, match="m cannot be made an image here with vllm"):
        check_servable(open_package(fake_package(tmp_path / "p")))
