"""`argosy export kubernetes` and `argosy export crd`."""

from pathlib import Path
from typing import Any, Literal

import click

from argosy.cli import declaration
from argosy.cli.base import Command, json_option
from argosy.cli.here import settings, store
from argosy.cli.output import emit
from argosy.spec.errors import InvalidArgument


@click.command("kubernetes", cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option("--image", required=True, help="The image; {model} and {version} in it are those of each endpoint.")
@click.option("--grpc", is_flag=True, help="Serve gRPC too: the image was built with --grpc.")
@click.option("--namespace", default="", help="The namespace; without, that of kubectl's context.")
@click.option(
    "--gateway-api", "gateway", default="", metavar="GATEWAY", help="Write HTTPRoutes to [NAMESPACE/]GATEWAY."
)
@json_option
def kubernetes(
    files: tuple[str, ...], output: Path, image: str, grpc: bool, namespace: str, gateway: str, as_json: bool
) -> None:
    """Write what runs declared endpoints on Kubernetes without a platform of Argosy: plain YAML and a kustomization.

    FILE declares endpoints as for `argosy apply`; - is standard input. Pods run an image as `argosy image build` made
    it, and refuse to start with another package than the declared version. What the files cannot say of a declaration
    is printed. They hold no secret: variables that name one are keys of the Secret NAME-env. The same declarations
    give the same files.

    JSON: {files, unsaid}: paths, and a list of texts for each endpoint.

    \b
    Example:
      argosy export kubernetes endpoint.yaml --image registry.example/{model}:{version} -o k8s
      kubectl apply --server-side -k k8s
    """
    import re

    from argosy.control.revision import revision_of
    from argosy.spec.scaling import Scaling
    from argosy.targets.kubernetes import export, objects
    from argosy.telemetry.export.files import write

    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?", namespace):
        raise InvalidArgument(f"--namespace '{namespace[:80]}' must be lower-case letters, digits and '-'")
    if gateway and not re.fullmatch(r"([a-z0-9-]{1,63}/)?[a-z0-9.-]{1,253}", gateway):
        raise InvalidArgument(f"--gateway-api '{gateway[:80]}' must be GATEWAY or NAMESPACE/GATEWAY")
    found: dict[str, bytes] = {}
    unsaid: dict[str, list[str]] = {}
    script = ["#!/bin/sh", "set -eu", 'cd "$(dirname "$0")"', "kubectl apply --server-side -k ."]
    with store() as place:
        for endpoint in declaration.read(files):
            version = place.registry.resolve(endpoint.model)
            revision, name = revision_of(endpoint, version), objects.label(endpoint.name)
            number = None if isinstance(scaling := endpoint.replicas, Scaling) else scaling
            tag = objects.image_of(image, version.name, version.number)
            trusted, part = version.trust is not None, objects.gpu_class(revision, settings().kubernetes.gpu_classes)
            pods = objects.Pods(image=tag, trusted=trusted, grpc=grpc, replicas=number, gpu_class=part)
            made = export.of_endpoint(endpoint, grpc=grpc and not revision.language)
            made += objects.of_revision(revision, pods)
            made += [export.autoscaler(endpoint, revision, scaling)] if isinstance(scaling, Scaling) else []
            made += [export.route(endpoint, gateway)] if gateway else []
            text = f"# Endpoint {endpoint.name}: {version.ref} ({version.digest}), revision {revision.id}.\n"
            found[f"{name}.yaml"] = (text + export.render(made)).encode()
            unsaid[endpoint.name] = export.unsaid(endpoint, routed=bool(gateway), language=bool(revision.language))
            script += _replacing(name, revision.id, namespace)
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [*found]}
    kustomization |= {"namespace": namespace} if namespace else {}
    found |= {"kustomization.yaml": export.render([kustomization]).encode()}
    found |= {"commands.sh": ("\n".join(script) + "\n").encode()}
    paths = [str(path) for path in sorted(write(output.expanduser().absolute(), found))]

    def render() -> None:
        click.echo("\n".join(paths))
        for name, lines in unsaid.items():
            click.echo(f"\nwhat these files do not do of '{name}':" if lines else "", err=True)
            click.echo("\n".join(f"  {line}" for line in lines), err=True)

    emit({"files": paths, "unsaid": unsaid}, as_json, render)


@click.command("crd", cls=Command)
@json_option
def crd(as_json: bool) -> None:
    """Write the definition by which Kubernetes knows declarations as objects of the kind Endpoint.

    The spec of such an object is what `argosy apply` reads, but that bounds of replicas are `scaling`, and that keys
    are made by `argosy keys create` alone. A platform with the target kubernetes follows the objects of its namespace
    and tells in their status what became of them. JSON: the definition.

    \b
    Example:
      argosy export crd | kubectl apply --server-side -f -
    """
    from argosy.targets.kubernetes import definition, export

    found = definition.definition()
    emit(found, as_json, lambda: click.echo(export.render([found]), nl=False))


def _replacing(name: str, revision: str, namespace: str) -> list[str]:
    """Wait for the pods of a revision, then delete what ran before."""
    within = f"--namespace {namespace} " if namespace else ""
    kinds = "deployment,configmap,networkpolicy,resourceclaimtemplate,poddisruptionbudget,horizontalpodautoscaler"
    others = f"argosy.dev/endpoint={name},argosy.dev/revision,argosy.dev/revision!={revision}"
    return [
        "",
        f"kubectl rollout status {within}deployment/{name}-{revision}",
        f"kubectl delete {within}{kinds} -l '{others}'",
    ]


@click.command("platform", cls=Command)
@click.option("--image", required=True, help="An image of Argosy whose entry point is `argosy`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write platform.yaml into this folder instead.")
@click.option("--namespace", default="argosy", show_default=True, help="The namespace, which is made.")
@click.option("--no-namespace", "unmade", is_flag=True, help="The namespace is there, and nothing is said of it.")
@click.option("--gateways", type=click.IntRange(1, 100), default=2, show_default=True, help="How many gateways.")
@click.option("--blobs", default="", help="Where packages lie for all pods: HOST/REPOSITORY, or a bucket's URL.")
@click.option("--replicas", default="", metavar="IMAGE", help="What pods of models run, if it is another image.")
@click.option(
    "--database-secret", "database", default="", metavar="NAME", help="The Secret whose key `url` names PostgreSQL."
)
@click.option("--postgres", type=click.Choice(["try"]), help="Install a small PostgreSQL, to try it.")
@click.option("--ephemeral", is_flag=True, help="No volumes: what a pod holds is lost with it. To try it.")
@click.option("--pull-secret", default="", metavar="NAME", help="The Secret by which images and packages are pulled.")
def platform(output: Path | None, unmade: bool, postgres: Literal["try"] | None, **given: Any) -> None:
    """Print what installs a platform in a cluster of Kubernetes: a controller, and gateways that follow it.

    It has a role in its namespace and none elsewhere, and runs under the restricted pod security standard. Nothing here
    is secret: at its start the controller makes the Secrets argosy-control, for users, and argosy-gateway. The database
    is SQLite on the controller's volume, unless PostgreSQL is named. To delete the namespace uninstalls everything.

    \b
    Example:
      argosy export platform --image registry.example/argosy:1 --blobs registry.example/models | kubectl apply -f -
      kubectl -n argosy port-forward service/argosy 7070
    """
    import re

    from argosy.targets.kubernetes import export
    from argosy.targets.kubernetes.platform import Installation, of_platform
    from argosy.telemetry.export.files import write

    wanted = Installation(postgres=postgres or "", namespaced=not unmade, **given)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", wanted.namespace):
        raise InvalidArgument(f"--namespace '{wanted.namespace[:80]}' must be lower-case letters, digits and '-'")
    if wanted.database and postgres:
        raise InvalidArgument("--database-secret and --postgres exclude each other")
    if not wanted.blobs and "{model}" not in wanted.replicas:
        raise InvalidArgument(
            "pods have to get packages: name --blobs, where all find them, or --replicas with {model} and {version}, "
            "images that hold them"
        )
    text = export.render(of_platform(wanted))
    if output is None:
        click.echo(text, nl=False)
    else:
        click.echo("\n".join(map(str, write(output.expanduser().absolute(), {"platform.yaml": text.encode()}))))
