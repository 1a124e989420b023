"""setup(): profile, device and the hints that go with them."""

import sys
from types import ModuleType

import pytest

from course import profile as profiles


def test_a_profile_picks_by_name_and_falls_back_to_the_smaller():
    full = profiles.Profile("full", "cpu", 0)
    assert full.pick(1, 2, 3) == 3 and full.pick(1, 2) == 2 and full.pick(1) == 1


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="smoke, colab, full"):
        profiles.setup("huge")


@pytest.mark.parametrize("name, on_colab, says", [
    ("smoke", False, None), ("colab", False, "takes long"), ("smoke", True, "T4 GPU"),
])  # fmt: skip
def test_without_a_gpu_the_hint_fits_the_place(name, on_colab, says, monkeypatch, capsys):
    monkeypatch.setattr(profiles, "find_device", lambda: "cpu")
    if on_colab:
        monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    assert profiles.setup(name).name == name
    out = capsys.readouterr().out
    assert f"profile {name!r} on cpu" in out
    assert (says is None) == (out.count("\n") == 1) and (says or "") in out
