"""Families of transformers, each by what tests must know of it: a tiny real model, and how diffusers calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import tiny_flux
import tiny_models
import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    ChromaPipeline,
    ChromaTransformer2DModel,
    DPMSolverMultistepScheduler,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    QwenImageControlNetModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    ZImageControlNetModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    UMT5Config,
    UMT5EncoderModel,
)

from masactrl_video.model.backbones.controls import ControlNetwork
from masactrl_video.model.backbones.flux2.pictures import ReferencePictures
from masactrl_video.model.backbones.qwen.controls import QwenControlNetwork
from masactrl_video.model.backbones.sd3.controls import SD3ControlNetwork
from masactrl_video.model.backbones.zimage.controls import ZImageControlNetwork

Plain = Callable[[Any, str, str | None, float, tuple[int, int], int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Family:
    """One of them."""

    name: str
    make: Callable[[], Any]
    """A whole pipeline, always with the same weights."""
    plain: Plain
    """(pipe, prompt, negative prompt or None, scale, size, steps, noise) → latents by diffusers' own pipeline, with
    real guidance where there is a negative prompt."""
    picture: Callable[[int, int], slice]
    """See `replayed.Replay`."""
    control: Callable[[Any, int], ControlNetwork] | None
    """(pipe, seed) → a ControlNet that has an effect."""
    layers: int
    scheduler: Any = "flow"
    """What the plain pipeline goes by."""
    fills: bool = False
    """Whether tokens that are none of the picture's stand in its own layers too."""
    controls_read_prompt: bool = False
    """Whether ControlNets read the prompt alone, and steer the negative prompt's branch by that."""
    save_control: Callable[[Any, Any], None] = lambda module, folder: module.save_pretrained(folder)
    """(module, folder): how a ControlNet lies on disk."""
    unguided_scale: float = 1.0
    """The highest without real guidance."""
    guides: bool = True
    """Whether there is real guidance beside what the network itself reads of a scale."""
    own_call: dict[str, Any] = field(default_factory=dict)
    """Arguments of a user's call without guidance."""
    pictures: str = "images"
    """What the pictures are called in what a user's call gives."""
    several: str = "num_images_per_prompt"
    """What a user's call names the number of pictures."""


def lively(network: Any) -> Any:
    """With an effect of the attention that is not lost in rounding, as trained ones have."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ("to_q" in name or "to_k" in name) and parameter.ndim == 2:
                parameter.mul_(3)
    return network.eval()


def effective(network: Any, *parts: str) -> Any:
    """A ControlNet whose zero layers have weights."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(parts):
                parameter.normal_(std=0.3)
    return network.eval()


def in_own_memory(pipe: Any) -> Any:
    """A pipeline whose weights do not lie in the file that they were read from.

    There they may begin at any 8 bytes, and on some CPUs the last bits of a product depend on that.
    """
    for part in pipe.components.values():
        for weight in part.parameters() if isinstance(part, torch.nn.Module) else ():
            weight.data = weight.data.clone()
    return pipe


def sd3_transformer() -> SD3Transformer2DModel:
    """Three blocks, of which the second has the picture's own attention beside the joint one, as 3.5 medium's."""
    torch.manual_seed(0)
    return lively(
        SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            pooled_projection_dim=2 * tiny_models.TEXT_WIDTH,
            pos_embed_max_size=12,
            dual_attention_layers=(1,),
            qk_norm="rms_norm",
        )
    )


def sd3_pipeline() -> StableDiffusion3Pipeline:
    """A whole tiny Stable Diffusion 3.5."""
    torch.manual_seed(2)
    tokenizer, text = CLIPTokenizer.from_pretrained(tiny_models.TOKENIZER), tiny_models._text_config()
    pipe = StableDiffusion3Pipeline(
        transformer=sd3_transformer(),
        scheduler=tiny_flux.scheduler(use_dynamic_shifting=False),
        vae=tiny_flux.vae(),
        text_encoder=CLIPTextModelWithProjection(text).eval(),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(text).eval(),
        tokenizer_2=tokenizer,
        text_encoder_3=tiny_flux.t5(),
        tokenizer_3=tiny_flux.t5_tokenizer(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd3_control(pipe: Any, seed: int) -> ControlNetwork:
    """The first is of the kind without text and positions of its own (3.5 large's), the others of InstantX's kind."""
    torch.manual_seed(seed)
    config = dict(pipe.transformer.config) | {"num_layers": 2, "dual_attention_layers": ()}
    if seed == 5:
        config |= {"joint_attention_dim": None, "use_pos_embed": False, "force_zeros_for_pooled_projection": False}
    network = effective(SD3ControlNetModel.from_config(config), "controlnet_blocks", "pos_embed_input")
    return SD3ControlNetwork("pose", network, 0.7)


def sd3_plain(pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any) -> Any:
    return pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative, latents=noise,
        guidance_scale=1.0 if negative is None else scale, max_sequence_length=tiny_flux.TOKENS, output_type="latent",
    ).images  # fmt: skip


SD3 = Family(
    "sd3",
    sd3_pipeline,
    sd3_plain,
    lambda tokens, total: slice(tokens),
    sd3_control,
    layers=4,
    own_call={"guidance_scale": 1.0, "max_sequence_length": tiny_flux.TOKENS},
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
CHAT_OF_PARTS = (
    "{% for message in messages if message.role == 'user' %}"
    "<|im_start|>{{ message.content[0].text }}<|im_end|>{% endfor %}"
)
"""For messages that may hold pictures too, without that of the system."""


def chat_tokenizer(**more: Any) -> PreTrainedTokenizerFast:
    """Words, each with the space before it, as Qwen's byte pairs have them, and a conversation around the prompt."""
    plain = [*tiny_flux.WORDS, "user", "assistant", "system", "Ċ"]
    known = [*SPECIAL, *plain, *(f"Ġ{word}" for word in plain)]
    own = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token=SPECIAL[0]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.add_special_tokens(SPECIAL)
    special = {"pad_token": SPECIAL[0], "eos_token": SPECIAL[2], "unk_token": SPECIAL[0]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, model_max_length=64, **special, **more)
    tokenizer.chat_template = CHAT
    return tokenizer


def zimage_pipeline() -> ZImagePipeline:
    """A whole tiny Z-Image."""
    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,),
        in_channels=4,
        dim=32,
        n_layers=3,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 64, 64],
    )
    with torch.no_grad():
        transformer.x_pad_token.normal_()
        transformer.cap_pad_token.normal_()
    tokenizer = chat_tokenizer()
    torch.manual_seed(2)
    text = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    pipe = ZImagePipeline(
        scheduler=tiny_flux.scheduler(use_dynamic_shifting=False),
        vae=tiny_flux.vae(),
        text_encoder=Qwen3Model(text).eval(),
        tokenizer=tokenizer,
        transformer=lively(transformer),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def zimage_control(pipe: Any, seed: int) -> ControlNetwork:
    """The first has channels for inpainting too and steers the refiner (2.0), the others are of the first kind."""
    torch.manual_seed(seed)
    own = pipe.transformer.config
    kinds = {"control_layers_places": [0, 2], "control_in_dim": 4}
    if seed == 5:
        kinds |= {
            "control_in_dim": 6, "control_refiner_layers_places": [0],
            "add_control_noise_refiner": "control_noise_refiner",
        }  # fmt: skip
    network = ZImageControlNetModel(dim=own.dim, n_refiner_layers=1, n_heads=2, n_kv_heads=2, **kinds)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "before_proj" in name or "after_proj" in name:
                parameter.normal_(std=0.3)
    return ZImageControlNetwork("pose", ZImageControlNetModel.from_transformer(network.eval(), pipe.transformer), 0.7)


def save_zimage_control(module: Any, folder: Any) -> None:
    """Without what it shares with the transformer."""
    own = ZImageControlNetModel.from_config(module.config)
    own.load_state_dict({name: module.state_dict()[name] for name in own.state_dict()})
    own.save_pretrained(folder)


def zimage_plain(
    pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any, **more: Any
) -> Any:
    return pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative, latents=noise,
        guidance_scale=0.0 if negative is None else scale, max_sequence_length=64, output_type="latent",
        **more,
    ).images  # fmt: skip


ZIMAGE = Family(
    "zimage",
    zimage_pipeline,
    zimage_plain,
    lambda tokens, total: slice(tokens),
    zimage_control,
    layers=4,
    fills=True,
    save_control=save_zimage_control,
    own_call={"guidance_scale": 0.0, "max_sequence_length": 64},
)


def qwen_pipeline() -> QwenImagePipeline:
    """A whole tiny Qwen-Image."""
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    torch.manual_seed(1)
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.2, 0.8, 1.0, 1.5],
    )
    tokenizer = chat_tokenizer()
    torch.manual_seed(2)
    sections = {"type": "default", "rope_type": "default", "mrope_section": [1, 1, 2]}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rope_parameters": sections, "rope_theta": 10000.0,
    }  # fmt: skip
    eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=eyes)
    pipe = QwenImagePipeline(
        scheduler=tiny_flux.scheduler(),
        vae=vae.eval(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=tokenizer,
        transformer=lively(transformer),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def qwen_control(pipe: Any, seed: int) -> ControlNetwork:
    torch.manual_seed(seed)
    config = dict(pipe.transformer.config) | {"num_layers": 2}
    network = QwenImageControlNetModel.from_config(config)
    return QwenControlNetwork("pose", effective(network, "controlnet_blocks", "controlnet_x_embedder"), 0.7)


def qwen_plain(pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any) -> Any:
    height, width = noise.shape[-2:]
    packed = pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative,
        latents=pipe._pack_latents(noise, 1, noise.shape[1], height, width), true_cfg_scale=scale, output_type="latent",
    ).images  # fmt: skip
    return pipe._unpack_latents(packed, *size, 8)[:, :, 0]


QWEN = Family(
    "qwen",
    qwen_pipeline,
    qwen_plain,
    lambda tokens, total: slice(total - tokens, total),
    qwen_control,
    layers=3,
    controls_read_prompt=True,
    own_call={"true_cfg_scale": 1.0},
)


def pixart_pipeline() -> PixArtSigmaPipeline:
    """A whole tiny PixArt-Sigma; its noise levels are gentle, since random weights enlarge what is rounded off."""
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        num_layers=3,
        cross_attention_dim=32,
        sample_size=16,
        caption_channels=32,
        use_additional_conditions=False,
    )
    levels = {"beta_start": 0.0001, "beta_end": 0.002}
    pipe = PixArtSigmaPipeline(
        tokenizer=tiny_flux.t5_tokenizer(),
        text_encoder=tiny_flux.t5(),
        vae=tiny_models.vae(),
        transformer=lively(transformer),
        scheduler=DPMSolverMultistepScheduler(**levels),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pixart_plain(pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any) -> Any:
    return pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative or "", latents=noise,
        guidance_scale=1.0 if negative is None else scale, max_sequence_length=tiny_flux.TOKENS, output_type="latent",
        use_resolution_binning=False, clean_caption=False,
    ).images  # fmt: skip


PIXART = Family(
    "pixart",
    pixart_pipeline,
    pixart_plain,
    lambda tokens, total: slice(total),
    None,
    layers=3,
    scheduler="dpm++",
    own_call={
        "guidance_scale": 1.0,
        "max_sequence_length": tiny_flux.TOKENS,
        "use_resolution_binning": False,
        "clean_caption": False,
    },
)


def chroma_pipeline() -> ChromaPipeline:
    """A whole tiny Chroma."""
    torch.manual_seed(0)
    transformer = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )
    pipe = ChromaPipeline(
        scheduler=tiny_flux.scheduler(),
        vae=tiny_flux.vae(),
        text_encoder=tiny_flux.t5(),
        tokenizer=tiny_flux.t5_tokenizer(),
        transformer=lively(transformer),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def chroma_plain(pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any) -> Any:
    packed = pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative,
        latents=pipe._pack_latents(noise, 1, *noise.shape[1:]), max_sequence_length=tiny_flux.TOKENS,
        guidance_scale=1.0 if negative is None else scale, output_type="latent",
    ).images  # fmt: skip
    return pipe._unpack_latents(packed, *size, 8)


CHROMA = Family(
    "chroma",
    chroma_pipeline,
    chroma_plain,
    lambda tokens, total: slice(total - tokens, total),
    None,
    layers=4,
    own_call={"guidance_scale": 1.0, "max_sequence_length": tiny_flux.TOKENS},
)


def wan_pipeline(*, unipc: bool = False) -> WanPipeline:
    """A whole tiny Wan; with `unipc`, with its authors' scheduler."""
    torch.manual_seed(0)
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        text_dim=32,
        freq_dim=16,
        ffn_dim=32,
        num_layers=3,
        rope_max_seq_len=32,
    )
    torch.manual_seed(1)
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.2, 0.8, 1.0, 1.5],
    )
    torch.manual_seed(3)
    words = 3 + len(tiny_flux.WORDS)
    text = UMT5Config(vocab_size=words, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    pipe = WanPipeline(
        tokenizer=tiny_flux.t5_tokenizer(),
        text_encoder=UMT5EncoderModel(text).eval(),
        vae=vae.eval(),
        scheduler=UniPCMultistepScheduler(**flow) if unipc else tiny_flux.scheduler(use_dynamic_shifting=False),
        transformer=lively(transformer),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux2_transformer(*, guidance: bool = False) -> Flux2Transformer2DModel:
    """Two blocks that keep text and picture apart, and two that do not."""
    torch.manual_seed(0)
    network = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    with torch.no_grad():
        for block in (*network.transformer_blocks, *network.single_transformer_blocks):
            block.attn.norm_q.weight.mul_(3)
            block.attn.norm_k.weight.mul_(3)
        for name in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation"):
            getattr(network, name).linear.weight.mul_(4)
    return network.eval()


def flux2_vae() -> AutoencoderKLFlux2:
    """Its batch norm has statistics."""
    torch.manual_seed(1)
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 8, 8), norm_num_groups=2, latent_channels=4, sample_size=128, layers_per_block=1
    )
    vae.bn.running_mean.normal_(std=0.2)
    vae.bn.running_var.uniform_(0.5, 2)
    return vae.eval()


def flux2_klein_pipeline() -> Flux2KleinPipeline:
    """A whole tiny FLUX.2 klein, as its base model: not distilled."""
    tokenizer = chat_tokenizer()
    transformer, vae = flux2_transformer(), flux2_vae()
    torch.manual_seed(2)
    text = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=28, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    pipe = Flux2KleinPipeline(
        scheduler=tiny_flux.scheduler(),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(text).eval(),
        tokenizer=tokenizer,
        transformer=transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux2_klein_kv_pipeline() -> Flux2KleinKVPipeline:
    """A whole tiny FLUX.2 klein-kv."""
    pipe = Flux2KleinKVPipeline(**flux2_klein_pipeline().components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux2_reference_pictures(pipe: Any, seed: int) -> ControlNetwork:
    """Guidance that FLUX.2 itself reads; there is nothing to make."""
    return ReferencePictures("pose", torch.nn.Identity())


def wan_plain(pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any) -> Any:
    return pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative, num_frames=1,
        latents=noise[:, :, None], max_sequence_length=tiny_flux.TOKENS,
        guidance_scale=1.0 if negative is None else scale, output_type="latent",
    ).frames[:, :, 0]  # fmt: skip


WAN = Family(
    "wan",
    wan_pipeline,
    wan_plain,
    lambda tokens, total: slice(total),
    None,
    layers=3,
    own_call={"guidance_scale": 1.0, "max_sequence_length": tiny_flux.TOKENS, "num_frames": 1},
    pictures="frames",
    several="num_videos_per_prompt",
)


def flux2_dev_pipeline() -> Flux2Pipeline:
    """A whole tiny FLUX.2 dev, whose guidance is distilled."""
    tokenizer = chat_tokenizer(padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]})
    transformer, vae = flux2_transformer(guidance=True), flux2_vae()
    torch.manual_seed(2)
    text = {
        "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
        "num_hidden_layers": 31, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    eyes = {
        "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "head_dim": 8, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    config = Mistral3Config(text_config=text, vision_config=eyes)
    pipe = Flux2Pipeline(
        scheduler=tiny_flux.scheduler(),
        vae=vae,
        text_encoder=Mistral3ForConditionalGeneration(config).eval(),
        tokenizer=PixtralProcessor(PixtralImageProcessor(), tokenizer, chat_template=CHAT_OF_PARTS),
        transformer=transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux2_plain(
    pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any, **more: Any
) -> Any:
    """The last latents before the autoencoder's scale is put in; `more` are further arguments, such as pictures."""
    last: list[torch.Tensor] = []

    def keep(pipe: Any, step: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        last[:] = [tensors["latents"]]
        return {}

    own: dict[str, Any] = {}
    if negative is not None:
        own = {"negative_prompt_embeds": pipe.encode_prompt(negative, max_sequence_length=64)[0]}
    if isinstance(pipe, Flux2KleinPipeline) and negative is None:
        scale = 1.0
    if not isinstance(pipe, Flux2KleinKVPipeline):
        own["guidance_scale"] = scale
    cells = pipe._patchify_latents(noise)
    pipe(
        prompt=prompt, height=size[0], width=size[1], num_inference_steps=steps, latents=cells,
        max_sequence_length=64, output_type="latent", callback_on_step_end=keep, **own, **more,
    )  # fmt: skip
    return pipe._unpatchify_latents(pipe._unpack_latents_with_ids(last[0], pipe._prepare_latent_ids(cells)))


FLUX2 = Family(
    "flux2",
    flux2_klein_pipeline,
    flux2_plain,
    lambda tokens, total: slice(total - tokens, total),
    None,
    layers=4,
    own_call={"guidance_scale": 1.0, "max_sequence_length": 64},
)

FLUX2_DEV = replace(
    FLUX2,
    name="flux2-dev",
    make=flux2_dev_pipeline,
    unguided_scale=3.5,
    guides=False,
    own_call={"guidance_scale": 3.5, "max_sequence_length": 64},
)

FLUX2_KV = replace(
    FLUX2, name="flux2-kv", make=flux2_klein_kv_pipeline, guides=False, own_call={"max_sequence_length": 64}
)
"""Not among all: what it is for are references."""

_TEXT = 64
REFERENCED = [
    replace(family, control=flux2_reference_pictures, picture=lambda tokens, total: slice(_TEXT, _TEXT + tokens))
    for family in (FLUX2, FLUX2_DEV)
]
"""With reference pictures as guidance, which stand behind the picture's tokens."""

FAMILIES = [SD3, ZIMAGE, QWEN, PIXART, CHROMA, WAN, FLUX2, FLUX2_DEV]


@cache
def pipeline(family: str) -> Any:
    """One for all tests that change nothing of it."""
    return next(one for one in [*FAMILIES, FLUX2_KV] if one.name == family).make()
