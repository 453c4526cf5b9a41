"""A network of their own for the tests with a PACS."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from outside import file, program

from pacs.node import Node, c_store
from pacs.orthanc import Orthanc, free_port


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[None]:
    """Move this process, and so all it starts, into a network namespace with nothing but a loopback."""
    program("ip", "iproute2")
    name = f"bone-ssl-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("needs root, for a network of its own: Orthanc would listen on all addresses")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        inside = os.open(f"/run/netns/{name}", os.O_RDONLY)
        _enter(inside)
        os.close(inside)
        yield
    finally:
        _enter(before)
        os.close(before)
        subprocess.run(["ip", "netns", "delete", name], check=True)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET; os.setns comes with Python 3.12
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One archive for all tests that do not stop it."""
    server = Orthanc(tmp_path_factory.mktemp("orthanc") / "data")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server of the tests' own, reached by a socket in a folder."""
    server = file(Path("/usr/lib/postgresql"), "postgresql")
    tools = sorted(server.glob("*/bin"))[-1]
    # Not in pytest's folder, which only root may enter; a short path, because a socket's has to be.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    port = free_port()
    shutil.chown(folder, "postgres")

    def run(*command: str) -> None:
        subprocess.run(["runuser", "-u", "postgres", "--", *command], check=True, capture_output=True)

    run(str(tools / "initdb"), "-D", f"{folder}/data", "-A", "trust")
    options = f"-k {folder} -h '' -p {port}"
    run(str(tools / "pg_ctl"), "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
    yield f"postgresql+pg8000://postgres@/postgres?unix_sock={folder}/.s.PGSQL.{port}"
    run(str(tools / "pg_ctl"), "-D", f"{folder}/data", "-m", "fast", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def run_node(tmp_path: Path, tiny_folder: Path) -> Iterator[Callable[..., Node]]:
    """Start services with the tiny model; those that still run are ended after the test."""
    nodes: list[Node] = []

    def start(tables: str, name: str = "node", **options: Any) -> Node:
        node = Node(tmp_path / name, tiny_folder, tables, **options)
        nodes.append(node)
        return node.start()

    yield start
    for node in nodes:
        node.kill()


@pytest.fixture
def node(run_node: Callable[..., Node], orthanc: Orthanc) -> Node:
    """A service that answers to the shared archive by C-STORE."""
    return run_node(c_store(orthanc))
