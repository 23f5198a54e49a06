"""What installs a platform: valid, least rights, nothing secret, always the same."""

import kubernetes_validate
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.targets.kubernetes.client import RIGHTS
from argosy.targets.kubernetes.export import render
from argosy.targets.kubernetes.platform import CONTROL, GATEWAY, Installation, of_platform, published

PLAIN = Installation(namespace="models", image="registry.example/argosy:1", blobs="registry.example/models")
MORE = {
    "plain": {},
    "postgres": {"postgres": "try", "ephemeral": True},
    "secrets": {"database": "db", "pull_secret": "logins", "gateways": 5, "namespaced": False},
}


def installed(**more: object) -> dict[tuple[str, str], dict]:
    return {
        (each["kind"], each["metadata"]["name"]): each for each in of_platform(msgspec.structs.replace(PLAIN, **more))
    }


@pytest.mark.parametrize("version", ["1.33", "1.37"])
@pytest.mark.parametrize("name", MORE)
def test_objects_are_valid(name: str, version: str):
    for each in installed(**MORE[name]).values():
        kubernetes_validate.validate(each, version, strict=True)


def test_rights_are_those_of_the_target_and_of_one_namespace():
    found = installed()
    assert not {kind for kind, _ in found} & {"ClusterRole", "ClusterRoleBinding"}
    rules = found["Role", CONTROL]["rules"]
    granted = {(*rule["apiGroups"], *rule["resources"], verb) for rule in rules for verb in rule["verbs"]}
    objects = {("argosy.dev", "endpoints", verb) for verb in ("list", "watch")}
    objects.add(("argosy.dev", "endpoints/status", "patch"))
    assert objects < granted
    assert len(granted - objects) == sum(len(set(verbs)) for verbs in RIGHTS.values())
    assert not [each for each in granted if "*" in each]
    assert [each for each in granted if each[2] == "get"] == [("", "pods/log", "get")]
    assert [each["name"] for each in found["RoleBinding", CONTROL]["subjects"]] == [CONTROL]
    assert found["ServiceAccount", GATEWAY]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", MORE)
def test_there_is_no_secret_and_every_pod_is_restricted(name: str):
    found = installed(**MORE[name])
    assert "Secret" not in {kind for kind, _ in found}
    for (kind, _), each in found.items():
        if kind == "Deployment":
            pod = each["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["enableServiceLinks"] is False
            (container,) = pod["containers"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            tokens = [one["value"] for one in container["env"] if "TOKEN" in one["name"]]
            assert all(each.startswith("/") for each in tokens)


def test_gateways_wait_for_the_secret_and_are_ready_once_envoy_listens():
    pod = installed()["Deployment", GATEWAY]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": 8080}
    assert pod["terminationGracePeriodSeconds"] > container["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
    assert [each["secret"] for each in pod["volumes"] if "secret" in each] == [{"secretName": "argosy-gateway"}]


def test_a_published_secret_goes_with_the_controller():
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": CONTROL, "uid": "u"}}
    secret = published(GATEWAY, "token", "certificate", owner)
    kubernetes_validate.validate(secret, "1.37", strict=True)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_the_command_prints_what_kubectl_takes_and_refuses_what_cannot_work(tmp_path):
    def run(*words: str):
        return CliRunner().invoke(argosy, ["export", "platform", *words])

    given = ("--image", PLAIN.image, "--blobs", PLAIN.blobs, "--namespace", "models")
    done = run(*given)
    assert done.exit_code == 0, done.output
    assert done.stdout == render(of_platform(PLAIN))
    assert next(yaml.safe_load_all(done.stdout))["kind"] == "Namespace"
    assert run(*given, "-o", str(tmp_path)).exit_code == 0
    assert (tmp_path / "platform.yaml").read_text() == done.stdout
    for words, said in [
        (("--image", "i"), "--blobs"),
        ((*given[:4], "--namespace", "A"), "--namespace"),
        ((*given, "--postgres", "try", "--database-secret", "d"), "exclude each other"),
    ]:
        refused = run(*words)
        assert refused.exit_code == 2, refused.output
        assert said in refused.output
