"""serve.toml: the example works, mistakes are named, secrets stay where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_bone_ssl.cli.serve import EXAMPLE
from monai_bone_ssl.errors import ConfigError
from monai_bone_ssl.service.settings import ledger_url, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text)
    return path


def test_the_example_of_the_help_is_valid(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, EXAMPLE))
    assert settings.receiver is not None
    assert settings.receiver.calling_ae_titles == ("PACS", "CR1")
    assert ledger_url(settings) == "sqlite:////var/lib/bone-ssl/ledger.sqlite"


@pytest.mark.parametrize("name", ["serve.toml", "serve-polling.toml"])
def test_the_deployment_examples_are_valid(name: str) -> None:
    folder = Path(__file__).parents[2] / "deploy_app" / "examples"
    load_settings(folder / name)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("keep_days = 7", "keepdays = 7"), "unknown field `keepdays`"),
        (("port = 11112", "port = 0"), "$.receiver.port"),
        (('["PACS", "CR1"]', "[]"), "$.receiver.calling_ae_titles"),
        (('ae_title = "BONESSL"', 'ae_title = "MORE THAN SIXTEEN"'), "$.receiver.ae_title"),
        (('send = "c-store"', 'send = "stow-rs"'), "expects [dicomweb]"),
        (("\n[pacs]", "\n[other]"), "unknown field `other`"),
        (("[status]", "[poll]\n[status]"), "[poll] expects [dicomweb]"),
        (("[status]", '[dicomweb]\nurl = "http://user:secret@host"\n[status]'), "$.dicomweb.url"),
        (("[status]", '[dicomweb]\nurl = "http://h"\npassword_file = "p"\n[status]'), "expects username"),
        (
            ("[status]", '[dicomweb]\nurl = "http://h"\ntoken_file = "t"\n[status]'),
            "expected an https:// url",
        ),
        (("[status]", '[dicomweb]\nurl = "http://h"\nusername = "u"\n[status]'), "expected an https:// url"),
        (("quiet_seconds = 60", "quiet_seconds = 60 s"), "serve.toml"),
        (("\n[pacs]", "\n[receiver.tls]\n[pacs]"), "expects certificate and key"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    assert change[0] in EXAMPLE
    path = write(tmp_path, EXAMPLE.replace(*change, 1))
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(path) in caught.value.text
    assert complaint in caught.value.text
    assert "secret" not in caught.value.text


def test_a_quiet_period_shorter_than_polling_is_refused(tmp_path: Path) -> None:
    text = EXAMPLE.replace("60 ", "5 ", 1) + '[dicomweb]\nurl = "http://h"\n[poll]\n'
    with pytest.raises(ConfigError, match=r"expected quiet_seconds above poll\.every_seconds"):
        load_settings(write(tmp_path, text))


def test_the_ledgers_url_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("postgresql+pg8000://from_file@db/ledger\n")
    text = f'ledger_url_file = "{tmp_path / "url"}"\n' + EXAMPLE
    monkeypatch.setenv("BONE_SSL_LEDGER_URL", "postgresql+pg8000://from_environment@db/ledger")
    assert ledger_url(load_settings(write(tmp_path, text))) == "postgresql+pg8000://from_file@db/ledger"
    settings = load_settings(write(tmp_path, EXAMPLE))
    assert ledger_url(settings) == "postgresql+pg8000://from_environment@db/ledger"


def test_a_token_of_the_environment_needs_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BONE_SSL_DICOMWEB_TOKEN", "secret")
    for url in ("https://h", "http://localhost:8042", "http://127.0.0.1"):
        load_settings(write(tmp_path, EXAMPLE + f'[dicomweb]\nurl = "{url}"\n'))
    for url in ("http://h", "http://localhost.example", "http://127.0.0.1.example"):
        with pytest.raises(ConfigError, match="expected an https:// url"):
            load_settings(write(tmp_path, EXAMPLE + f'[dicomweb]\nurl = "{url}"\n'))
