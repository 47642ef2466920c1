"""Folders of tiny models, written once."""

from pathlib import Path

import pytest
import tiny_models


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sd1"
    tiny_models.sd1_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sdxl"
    tiny_models.sdxl_pipeline().save_pretrained(folder)
    return folder
