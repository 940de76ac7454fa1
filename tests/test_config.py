"""Settings: read, overridden, checked, written, read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from radfast.config import Config, load_config, parse_toml_value, write_toml
from radfast.errors import UsageError

CONFIGS = Path(__file__).parents[1] / "configs"


def test_defaults_survive_toml(tmp_path: Path) -> None:
    path = tmp_path / "radfast.toml"
    path.write_text(write_toml(Config()), encoding="utf-8")
    assert load_config(path) == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    again = tmp_path / "again.toml"
    again.write_text(write_toml(config), encoding="utf-8")
    assert load_config(again) == config


def test_overrides_win() -> None:
    config = load_config(CONFIGS / "paper.toml", {"vision.epochs": 3, "seed": 7})
    assert (config.vision.epochs, config.seed, config.topics.n_document) == (3, 7, 80)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("colour = 1", "configuration key 'colour'.*unknown key"),
        ("[vision]\nepoch = 3", "configuration key 'vision.epoch'.*unknown key"),
        ("[vision]\nepochs = 0", "configuration key 'vision.epochs'.*greater than or equal to 1"),
        ("[vision\n", "is not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(text: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "radfast.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=rule):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("[1, 2]", [1, 2]), ("a/b.obo", "a/b.obo"), ('"x"', "x")],
)
def test_values_of_the_command_line(text: str, value: object) -> None:
    assert parse_toml_value(text) == value
