"""The benchmark of real shapes, on shapes that are not."""

from pathlib import Path
from typing import Any

import pytest
import torch

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
SD = {"sample_size": 16, "block_out_channels": (32,) * 4, "cross_attention_dim": 16, "attention_head_dim": 2}
XL = {
    "sample_size": 16,
    "block_out_channels": (32,) * 3,
    "cross_attention_dim": 32,
    "attention_head_dim": (1, 2, 2),
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 16,
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything as deep as it is, but narrow."""
    import shapes

    for text in ("CLIP_L", "CLIP_BIG_G"):
        monkeypatch.setattr(shapes, text, TEXT)
    for unet, changes in ((shapes.UNET_SD15, SD), (shapes.UNET_SDXL, XL)):
        for key, value in changes.items():
            monkeypatch.setitem(unet, key, value)
    for family in shapes.FAMILIES.values():
        monkeypatch.setitem(family.vae, "block_out_channels", (32,) * 4)


@pytest.mark.parametrize(("name", "layers"), [("SD-1.5", 16), ("SDXL", 70)])
def test_the_layouts_are_the_real_ones(narrow: None, name: str, layers: int) -> None:
    from real_shapes import TOKENIZER
    from shapes import FAMILIES, build_pipeline

    from masactrl_video.model.backbones.unet.layers import self_attention_layers

    pipe = build_pipeline(name, TOKENIZER, torch.float32)
    assert len(self_attention_layers(pipe.unet)) == FAMILIES[name].self_attention_layers == layers
    assert all(bool(p.isfinite().all()) for p in pipe.unet.parameters())


@pytest.mark.long
@pytest.mark.parametrize("name", ["SD-1.5", "SDXL"])
def test_figures_are_complete_and_every_call_was_controlled(narrow: None, tmp_path: Path, name: str) -> None:
    import real_shapes

    figures: dict[str, Any] = real_shapes.measure(name, "96x64", real_shapes.TOKENIZER, tmp_path)
    assert figures["calls"] == figures["expected_calls"] == 2 * 2 * {"SD-1.5": 6, "SDXL": 26}[name]
    row = real_shapes.as_row(figures)
    assert row["size"] == "96×64"
    assert figures["frame_seconds"] > 0
    assert figures["peak_bytes"] > figures["weights_bytes"]
    assert figures["cache_bytes"] > 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"0.png", "1.png"}


def test_the_table_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from table import write_table

    monkeypatch.setattr("sys.argv", ["benchmarks/x.py", "--flag", "a b"])
    write_table(tmp_path / "x.md", "Title", [{"one": "1", "two": "2"}])
    lines = (tmp_path / "x.md").read_text().splitlines()
    assert lines[0] == "# Title"
    assert "`python benchmarks/x.py --flag 'a b'`" in lines[2]
    assert lines[-3:] == ["| one | two |", "| --- | --- |", "| 1 | 2 |"]
