"""Where capacity is bought: the section `supply` of `config.yaml`."""

from typing import Annotated, ClassVar

from msgspec import Meta, field

from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.provider import Provided
from argosy.spec.region import check_region
from argosy.spec.secret import VARIABLE, url_holds
from argosy.spec.strict import Amount, Declaration, repeated, require


class External(Declaration, frozen=True, kw_only=True):
    """A provider that answers requests instead of renting machines: of the OpenAI API or the Open Inference Protocol
    (`protocol`), at `url`. `models` names the model there for each endpoint that may overflow to it; `region` is where
    it answers, for endpoints that say where they may. It costs `request` US dollars a request, and `input` and `output`
    dollars a million tokens; no more than `budget` dollars a day (0: nothing is sent). `key` names the variable with
    its key, as in $KEY; `rate` is how many requests a second it takes."""

    url: str
    protocol: str = "openai"
    models: dict[str, str]
    region: str = ""
    key: str = ""
    request: Amount = 0.0
    input: Amount = 0.0
    output: Amount = 0.0
    budget: Amount = 0.0
    rate: Annotated[float, Meta(gt=0)] = 10.0

    where: ClassVar[str] = "supply.external: "

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = {
            "url must begin with https://, or http:// and a loopback host, and hold no secret": self.url.startswith(
                ("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")
            )
            and not url_holds(self.url),
            "protocol is 'openai' or 'oip'": self.protocol in ("openai", "oip"),
            "key must name a variable, as in $KEY": not self.key
            or (self.key.startswith("$") and bool(VARIABLE.fullmatch(self.key[1:]))),
            "set what it costs: request, or input and output": self.request + self.input + self.output > 0,
            "models must name one endpoint at least": bool(self.models),
        }
        require(self.where, checks)
        if self.region:
            check_region(self.region, "supply.external: region")


class SupplySettings(Declaration, frozen=True, kw_only=True):
    """Where capacity is bought. `catalogues`: for each provider the file with its prices, by absolute path, or its URL
    (https). `untrusted`: providers whose machines are those of strangers; `canaries`: seconds between two requests with
    known answers to an endpoint that may run there, on average. `sky`: the clouds that SkyPilot launches on.
    `external`: providers that requests overflow to, by a name; `providers`: where machines are launched or claimed, by
    a name and of a `kind` (local, ssh, kubernetes, ray, replay). Both stand in the file alone."""

    catalogues: dict[str, str] = field(default_factory=dict[str, str])
    untrusted: tuple[str, ...] = ("vast", "vastai")
    canaries: Annotated[float, Meta(ge=0.1, le=86400)] = 120.0
    sky: tuple[str, ...] = ()
    external: dict[str, External] = field(default_factory=dict[str, External])
    providers: dict[str, Provided] = field(default_factory=dict[str, Provided])

    where: ClassVar[str] = "supply."

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*self.catalogues, *self.external, *self.sky, *self.providers):
            check_name(name, "supply: the name of a provider")
        if twice := repeated((*self.external, *self.sky, *self.providers)):
            raise InvalidArgument(f"supply: '{twice}' names two providers; give one of them another name")
        for name, place in self.catalogues.items():
            good = place.startswith("/") or (
                place.startswith(("https://", "http://127.0.0.1:")) and not url_holds(place)
            )
            if not good:
                raise InvalidArgument(
                    f"supply.catalogues.{name} must be the absolute path of a file, or a URL that begins with https:// "
                    f"and holds no secret, not '{place[:80]}'"
                )
