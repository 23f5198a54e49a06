"""The API description out of the binary."""

import errno

import pytest

from argosy.process import envoy
from argosy.process.envoy import typed
from argosy.spec.errors import Internal, InvalidArgument
from tests.gateway import envoy_api as module
from tests.gateway.envoy_api import Descriptors, cut


@pytest.fixture(scope="module")
def descriptors():
    return Descriptors(envoy.find())


def test_the_whole_api_is_there():
    files = cut(envoy.find())
    assert len(files) > 500
    assert "envoy/config/route/v3/route_components.proto" in files
    assert all(dependency in files for file in files.values() for dependency in file.dependency)


def test_a_wrong_field_is_named_however_deep(descriptors):
    router = typed("envoy.extensions.filters.http.router.v3.Router", suppres_envoy_headers=True)
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="x",
        http_filters=[{"name": "r", "typed_config": router}],
    )
    with pytest.raises(Internal, match=r"lds\.json\[0\] does not fit this Envoy .*suppres_envoy_headers"):
        descriptors.check_all({"lds.json": [manager]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"connect_timeout": "soon"}, "connect_timeout"), ({"type": "EDSX"}, "EDSX"), ({"name": 3}, "name")],
)
def test_a_wrong_value_is_named(descriptors, fields, message):
    with pytest.raises(Internal, match=message):
        descriptors.check(typed("envoy.config.cluster.v3.Cluster", **fields), "cds")


def test_an_unknown_message_is_named(descriptors):
    with pytest.raises(Internal, match=r"envoy\.Nothing"):
        descriptors.check({}, "it", "envoy.Nothing")
    with pytest.raises(Internal, match=r"envoy\.Nothing"):
        descriptors.check(typed("envoy.Nothing"), "it")


def test_what_was_cut_is_kept(tmp_path, monkeypatch):
    first = Descriptors(envoy.find(), tmp_path)
    assert first.pool.FindMessageTypeByName("envoy.config.cluster.v3.Cluster")
    assert len(list(tmp_path.glob("envoy-api-*.pb"))) == 1
    monkeypatch.setattr(module, "cut", lambda binary: pytest.fail("cut again"))
    second = Descriptors(envoy.find(), tmp_path)
    assert second.pool.FindMessageTypeByName("envoy.config.cluster.v3.Cluster")


def test_a_full_disk_costs_only_the_cache(tmp_path, monkeypatch):
    def full(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert Descriptors(envoy.find(), tmp_path).pool.FindMessageTypeByName("envoy.config.cluster.v3.Cluster")
    assert list(tmp_path.iterdir()) == []


def test_no_envoy_is_said_so(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"\n\x07a.proto\x12\xff" + b"x" * 100)
    with pytest.raises(InvalidArgument, match=r"other holds no Envoy API.*gateway\.envoy"):
        cut(other)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        cut(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidArgument, match="cannot be read"):
        cut(tmp_path / "empty")
