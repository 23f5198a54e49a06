"""The CustomResourceDefinition of `Endpoint`: a declaration as an object of Kubernetes, its schema made of our types.

Pure. What the schema cannot say is said by rules in CEL, or by admission in the object's status. Sources: Kubernetes
CustomResourceDefinitions (structural schemas, validation rules and their cost), 1.37.
"""

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from msgspec import inspect as types

from argosy.spec import strict
from argosy.spec.endpoint import Endpoint
from argosy.spec.scaling import Scaling
from argosy.targets.kubernetes.objects import Object

GROUP, VERSION, KIND = "argosy.dev", "v1alpha1", "Endpoint"
API = f"{GROUP}/{VERSION}"
NAME = f"endpoints.{GROUP}"
LONGEST = 4096
"""Characters of a text in a list: the cost of rules is counted at their most."""
MOST = 64
"""Members of a list."""

_SPEC = (
    ("!has(self.replicas) || !has(self.scaling)", "declare replicas or scaling, not both"),
    ("!has(self.follow) || !self.follow || self.model.contains('@')", "follow needs an alias, as in digits@champion"),
    (
        "!has(self.triggers) || size(self.triggers) == 0 || (has(self.monitor) && has(self.payload))",
        "triggers are about performance: declare payload and monitor, too",
    ),
)
_RULES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Scaling": (
        ("(has(self.min) ? self.min : 1) <= (has(self.max) ? self.max : 10)", "min must be at most max"),
        (
            "(has(self.window) ? self.window : 120.0) <= (has(self.history) ? self.history : 1800.0)",
            "history must be at least as long as window",
        ),
    ),
    "Rollout": (
        (
            "!has(self.steps) || size(self.steps) == 0 || (has(self.strategy) && self.strategy == 'canary')",
            "steps belong to the strategy canary",
        ),
    ),
    "StickyBy": (("(self.by == 'key') != (has(self.name) && self.name != '')", "name the header or cookie"),),
    "PayloadLog": (
        ("!has(self.redact) || !has(self.hash) || !self.redact.exists(a, a in self.hash)", "redact or hash, not both"),
    ),
}
"""What must be true of an object of a type, and what is said where it is not. The types check it again."""


def definition() -> Object:
    """The CustomResourceDefinition."""
    spec = schema(types.type_info(Endpoint))
    fields: Object = spec["properties"]
    whole, bounds = fields.pop("replicas"), schema(types.type_info(Scaling))
    del fields["keys"]  # nobody would be shown the text of a key: argosy keys create makes them
    fields |= {"replicas": whole | {"description": "How many replicas; see scaling."}, "scaling": bounds}
    fields["name"]["description"] = "May be left out; else it is the name of the object."
    fields["triggers"] |= _keyed("name")
    spec |= {"properties": dict(sorted(fields.items())), "required": ["model"]}
    spec["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in _SPEC]
    root: Object = {
        "type": "object",
        "description": "What Argosy serves under a public name: the declaration of `argosy apply` as an object.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": spec, "status": _status(),
        },
        "x-kubernetes-validations": [
            {"rule": "size(self.metadata.name) <= 63", "message": "an endpoint has a name of at most 63 characters"},
            {
                "rule": "!has(self.spec.name) || self.spec.name == self.metadata.name",
                "message": "spec.name must be the name of the object, or be left out",
            },
        ],
    }  # fmt: skip
    columns = [
        {"name": name, "type": kind, "jsonPath": path}
        for name, kind, path in (
            ("READY", "string", '.status.conditions[?(@.type=="Ready")].status'),
            ("REVISION", "string", ".status.revision"),
            ("TRAFFIC", "string", ".status.traffic"),
            ("URL", "string", ".status.url"),
            ("AGE", "date", ".metadata.creationTimestamp"),
        )
    ]
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}, "scale": scale | {"labelSelectorPath": ".status.selector"}},
        "additionalPrinterColumns": columns,
    }
    names = {"plural": "endpoints", "singular": "endpoint", "kind": KIND, "listKind": "EndpointList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names | {"shortNames": ["aep"], "categories": ["argosy"]},
            "versions": [version],
        },
    }


def schema(info: types.Type) -> Object:
    """The structural schema of a type. Raises TypeError for one that no schema can have."""
    match info:
        case types.BoolType():
            return {"type": "boolean"}
        case types.IntType(ge=least, le=most):
            return {"type": "integer"} | _bounds(least, None, most, None)
        case types.FloatType(ge=least, gt=above, le=most, lt=below):
            return {"type": "number"} | _bounds(least, above, most, below)
        case types.StrType():
            return {"type": "string"}
        case types.LiteralType(values=values):
            return {"type": "string", "enum": list(values)}
        case types.DictType(value_type=inner):
            return {"type": "object", "maxProperties": MOST, "additionalProperties": schema(inner)}
        case types.VarTupleType(item_type=inner):
            bounded = {"maxLength": LONGEST} if isinstance(inner, types.StrType) else {}
            return {"type": "array", "maxItems": MOST, "items": schema(inner) | bounded}
        case types.StructType():
            return _struct(info)
        case types.UnionType(types=several):
            return _union([each for each in several if not isinstance(each, types.NoneType)])
        case types.Metadata(type=inner):
            return schema(inner)
        case _:
            raise TypeError(f"{info} has no structural schema")


def _union(several: list[types.Type]) -> Object:
    """One of several types: the only one, the first that is no object, or what tagged objects have together."""
    plain = [each for each in several if not isinstance(each, types.StructType)]
    whole = next((each for each in plain if isinstance(each, types.IntType)), None)
    if whole is not None and any(isinstance(each, types.FloatType) for each in plain):
        return {"type": "number"} | _bounds(whole.ge, None, whole.le, None)
    if plain or len(several) == 1:
        return schema((plain or several)[0])
    made = [schema(each) for each in several]
    found: Object = {"type": "object", "properties": {}}
    for each in made:
        found["properties"] |= each["properties"]
    tags = [each for each in several if isinstance(each, types.StructType)]
    assert tags[0].tag_field is not None
    found["properties"][tags[0].tag_field] = {"type": "string", "enum": [each.tag for each in tags]}
    shared = set[str].intersection(*(set(each.get("required", ())) for each in made))
    found["required"] = sorted(shared | {tags[0].tag_field})
    described = (f"{each.tag}: {made[number]['description']}" for number, each in enumerate(tags))
    return found | {"description": " ".join(described)}


def _struct(info: types.StructType) -> Object:
    doc = " ".join((inspect.getdoc(info.cls) or "").split())
    fields = {each.encode_name: schema(each.type) for each in info.fields}
    whose: dict[str, str] = {}
    for name, each in fields.items():
        if "description" not in each and (said := _said(doc, name)):
            first = whose.setdefault(said, name)
            each["description"] = said if first == name else f"See {first}."
    made: Object = {"type": "object", "description": _sentences(doc)[0], "properties": fields}
    required = [each.encode_name for each in info.fields if each.required]
    made |= {"required": required} if required else {}
    rules = _RULES.get(info.cls.__name__, ())
    rules = [{"rule": rule, "message": message} for rule, message in rules]
    return made | ({"x-kubernetes-validations": rules} if rules else {})


@cache
def _sentences(doc: str) -> list[str]:
    return [re.sub(";$", ".", each) for each in re.split(r"(?<=[.;]) (?=[A-Z`])", doc)]


def _said(doc: str, name: str) -> str:
    """The sentences of a text that are about a field."""
    return " ".join(each for each in _sentences(doc) if f"`{name}`" in each)


def _bounds(least: float | None, above: float | None, most: float | None, below: float | None) -> Object:
    found: dict[str, Any] = {"minimum": least if above is None else above, "maximum": most if below is None else below}
    found |= {"exclusiveMinimum": True} if above is not None else {}
    found |= {"exclusiveMaximum": True} if below is not None else {}
    return {key: value for key, value in found.items() if value is not None}


def _keyed(field: str) -> Object:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


def _status() -> Object:
    text: Object = {"type": "string"}
    told: Object = {"type": text, "reason": text, "message": text, "lastTransitionTime": text | {"format": "date-time"}}
    told |= {"status": text | {"enum": ["True", "False", "Unknown"]}, "observedGeneration": {"type": "integer"}}
    condition = {"type": "object", "properties": told, "required": ["type", "status"]}
    counts = {name: {"type": "integer"} for name in ("observedGeneration", "replicas", "ready")}
    texts = {
        "url": "Where predictions are asked for.",
        "revision": "The revision that serves.",
        "version": "The version of the model that serves.",
        "traffic": "The versions that serve, each with its percent of the requests.",
        "selector": "The labels of its pods, where it runs as such.",
    }
    described = {name: {"type": "string", "description": said} for name, said in texts.items()}
    conditions: Object = {
        "type": "array",
        "description": "Ready: it serves what is declared; Progressing: it is on the way there; RolledBack: it went "
        "back to what served before.",
        "items": condition,
    }
    fields: Mapping[str, Object] = {"conditions": conditions | _keyed("type"), **counts, **described}
    return {"type": "object", "description": "What the platform has made of it.", "properties": fields}


def declaration(found: Object) -> Endpoint:
    """The endpoint that an object declares. Raises InvalidArgument."""
    spec = dict(found["spec"])
    spec["name"] = found["metadata"]["name"]
    if (bounds := spec.pop("scaling", None)) is not None:
        spec["replicas"] = bounds
    return strict.convert(spec, Endpoint, f"Endpoint {spec['name']}")
