"""Two pictures of one character from a diffusers pipeline that is loaded already: `python use_source.py OUTPUT_FOLDER`.

The first is the source; the second has another prompt and takes its look from the source (mutual self-attention).
"""

import argparse
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.demo.folder import WEIGHTS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("output", type=Path, help="folder for source.png and target.png; it must not exist")
parser.add_argument("--model", default=WEIGHTS, help="folder or hub id of a Stable Diffusion (default: the demo model)")
parser.add_argument("--source-prompt", default="a bear in a red shirt and blue pants standing in the meadow")
parser.add_argument("--prompt", default="a bear in a red shirt and blue pants waving in the meadow")
parser.add_argument("--num-inference-steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True)

pipe = StableDiffusionPipeline.from_pretrained(arguments.model, safety_checker=None, use_safetensors=True)
pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)  # visits each timestep once, unlike PNDM
steps = arguments.num_inference_steps


def make(prompt):
    """Both pictures start from the same noise."""
    generator = torch.Generator().manual_seed(arguments.seed)
    return pipe(prompt, num_inference_steps=steps, generator=generator).images[0]


with record_source(pipe.unet, masa_layer=10) as source:
    make(arguments.source_prompt).save(arguments.output / "source.png")
with use_source(pipe.unet, source, masa_step=4, masa_layer=10):
    make(arguments.prompt).save(arguments.output / "target.png")
