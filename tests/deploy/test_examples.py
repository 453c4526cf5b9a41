"""The deployment examples against the schemas of Kubernetes and Compose; no cluster runs them here."""

from __future__ import annotations

import re

import compose_spec
import kubernetes_validate
import pytest
import yaml

from deploy.conftest import APP

EXAMPLES = APP / "examples"


def test_kubernetes_knows_every_key() -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))
    assert [document["kind"] for document in documents] == [
        "PersistentVolumeClaim", "Service", "NetworkPolicy", "StatefulSet"
    ]  # fmt: skip
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_schema_sees_a_mistake() -> None:
    text = (
        (EXAMPLES / "kubernetes.yaml").read_text().replace("readOnlyRootFilesystem", "readOnlyRootFileSystem")
    )
    stateful_set = list(yaml.safe_load_all(text))[-1]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(stateful_set, kubernetes_validate.latest_version(), strict=True)


def test_compose_follows_its_specification() -> None:
    text = (EXAMPLES / "compose.yaml").read_text()
    compose_spec.PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="read_onli"):
        compose_spec.PyCompose.from_yaml(text.replace("read_only", "read_onli")).validate()


def test_examples_mount_what_the_settings_name() -> None:
    """Paths and ports stand in three files each; they have to agree."""
    for toml, deployment in (("serve.toml", "compose.yaml"), ("serve-polling.toml", "kubernetes.yaml")):
        settings, text = (EXAMPLES / toml).read_text(), (EXAMPLES / deployment).read_text()
        for path in re.findall(r'"(/[a-z/-]+)', settings):
            folder = path if path.startswith("/var") else path.rsplit("/", 1)[0]
            assert re.search(rf"{folder}\b", text), f"{deployment} mounts no {folder}"
        (status_port,) = re.findall(r"\[status\][^\[]*port = (\d+)", settings)
        assert status_port in text
