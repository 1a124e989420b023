"""Names on the Hub, where there is no network."""

import shutil
import socket
import time

import pytest
from huggingface_hub import constants

import advlib
from advlib import hub
from advlib.generative import load_generator
from advlib.models import CHECKPOINTS


@pytest.fixture
def no_network(monkeypatch):
    """No name is found, and nobody waits for one."""

    def fails(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    def waits(_):
        pytest.fail("it waits, to ask the Hub once more")

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", fails)
    monkeypatch.setattr(time, "sleep", waits)


@pytest.mark.parametrize("load", [advlib.load_classifier, advlib.load_text, load_generator])
def test_an_unknown_name_is_told_at_once(no_network, load):
    with pytest.raises(ValueError, match="'nobody/nothing' is n.* Hub"):
        load("nobody/nothing")
    assert constants.HF_HUB_OFFLINE is False  # tomorrow there is a network again


def test_a_model_that_was_kept_is_loaded_at_once(no_network, monkeypatch, tmp_path):
    kept = tmp_path / "models--somebody--reviews"
    shutil.copytree(CHECKPOINTS / "reviews-clean", kept / "snapshots" / ("a" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    victim = advlib.load_classifier("somebody/reviews")
    assert victim.predict(["The soup was delicious."]).argmax() == 1


def test_a_folder_asks_nobody(no_network, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_can_be_found", lambda: pytest.fail("asked"))
    with hub.no_waiting(tmp_path):
        pass


def test_behind_a_proxy_the_hub_is_asked(no_network, monkeypatch):
    with hub.no_waiting("nobody/nothing"):
        assert constants.HF_HUB_OFFLINE
    monkeypatch.setenv("https_proxy", "http://localhost:1")
    with hub.no_waiting("nobody/nothing"):
        assert not constants.HF_HUB_OFFLINE
