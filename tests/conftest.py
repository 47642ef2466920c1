"""Fixtures that every test folder may use."""

import gc
import os
import signal
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before any test imports a library that reads it
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: threads cost more than they bring

import hypothesis
import pytest

hypothesis.settings.register_profile("slow machines", deadline=None)
hypothesis.settings.load_profile("slow machines")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real clips, poses and weights that lie beside a developer's checkout; they are never part of the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no folder {SHARED.name}/ with real clips beside the checkout")
    return SHARED


def pytest_configure() -> None:
    """Ctrl-C counts in tests also where a shell that runs them in the background has them ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Search seldom for objects in circles: among the millions of the libraries that took a quarter of the time."""
    gc.freeze()
    gc.set_threshold(700, 10, 200)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the long form of tests that have a short one")


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether tests that have a long form run it: more kills, more damage, more inputs."""
    return bool(pytestconfig.getoption("--full"))
