"""Input that cannot be used, case by case: what is typed, and words of the one line that answers it."""

from __future__ import annotations

from cli.bad_commands import ANIMATE, COMICS, OTHERS, Case

SHORT = ("--num-inference-steps", "2", "--masa-step", "1")
MASKED = ("--attention-mode", "masked")
POSE = ("clip.mp4", "--guidance", "pose", "--pose-json")

RENDER: dict[str, Case] = {
    "no such file": (["none.mp4"], "no such file or folder: none.mp4"),
    "a text": (["text.mp4"], "not a video"),
    "an empty file": (["empty.mp4"], "is empty (0 bytes): get it anew"),
    "a photo as clip": (["black.png"], "`masactrl-video edit` changes a picture, and --source-image makes"),
    "a text called .png as clip": (["text.png"], "is named like a picture, and is no clip"),
    "a folder with a broken picture": (["broken"], "--allow-partial takes the 1 before it"),
    "a video with a damaged frame": (["damaged.mp4"], "damaged.mp4 cannot be decoded: the file is damaged"),
    "an empty folder": (["empty"], "holds no images"),
    "an address": (["https://example.org/clip.mp4"], "is an address"),
    "a protocol": (["concat:clip.mp4|clip.mp4"], "is an address"),
    "a name with escapes": (["\x1b[31mred\n.mp4"], "no such file or folder:  [31mred .mp4"),
    "a name that is too long": (["a" * 5000 + ".mp4"], "File name too long"),
    "no clip": ([], "clip: missing; name it on the command line"),
    "a picture as clip": (["black.png"], "is a picture, not a clip"),
    "an unknown preset": (["clip.mp4", "--preset", "sd3"], "there is no 'sd3'"),
    "a preset without a prompt": (["clip.mp4", "--preset", "sd15-controlnet"], "prompt: missing"),
    "an unknown layer": (["clip.mp4", "--masa-layers", "up_blocks.9"], "'up_blocks.9'"),
    "a layer past the last": (["clip.mp4", "--masa-layer", "17"], "got 17"),
    "an unknown key": (["clip.mp4", "--config", "unknown.yaml"], "sede: there is no such setting"),
    "a folder as config": (["clip.mp4", "--config", "empty"], "cannot be read as a configuration"),
    "a video as config": (["clip.mp4", "--config", "clip.mp4"], "cannot be read as a configuration"),
    "a size that does not fit": (["clip.mp4", "--width", "100"], "100 is no multiple of 8, "),
    "no weights and no network": (["clip.mp4", "--model", "org/none", "--guidance"], "hub cannot be reached"),
    "no network of guidance": (["clip.mp4", "--controlnet", "canny=org/none"], "hub cannot be reached"),
    "a pickle": (["clip.mp4", "--model", "model.ckpt"], "pickles can run code"),
    "a LoRA that is not there": (["clip.mp4", "--lora", "none.safetensors"], "none.safetensors"),
    "an unknown device": (["clip.mp4", "--device", "tpu"], "device: got 'tpu'"),
    "an output that exists": (["clip.mp4", "-o", "there.mp4"], "there.mp4 exists"),
    "an output of no kind": (["clip.mp4", "-o", "out.avi"], "out.avi"),
    "an output without a suffix": (["clip.mp4", "-o", "out"], "out"),
    "an output over the clip": (["clip.mp4", "-o", "clip.mp4", "--overwrite"], "would be overwritten"),
    "an output whose name is too long": (["clip.mp4", "-o", "長" * 82 + ".mp4"], "at most 255 bytes"),
    "an output in a folder whose name is too long": (["clip.mp4", "-o", "長" * 90 + "/o.mp4"], "at most 255 bytes"),
    "an output that is a folder": (["clip.mp4", "-o", "folder.mp4", "--overwrite"], "folder.mp4 is a folder"),
    "a codec of another kind of video": (["clip.mp4", "-o", "out.webm", "--codec", "libx264"], "a .webm file"),
    "an output below a file": (["clip.mp4", "-o", "text.png/out.mp4"], "text.png"),
    "a word that is not in the prompt": (["clip.mp4", *MASKED, "--mask-words", "dragon"], "'dragon' is not in the"),
    "masks without words": (["clip.mp4", *MASKED], "give mask_words"),
    "a live source of several": (
        ["clip.mp4", "--source-storage", "live", "--key-frames", "2"],
        "source_storage live: it is for a clip with one source",
    ),
    "given masks before sources that are placed and generated": (
        ["clip.mp4", *MASKED, "--target-masks", "clip.mp4", "--source-mask-words", "bear", "--key-frames", "2"],
        "target_masks: a source that is generated after the first is masked by words; give mask_words instead",
    ),
    "a cast beside a source that is kept nowhere": (
        ["clip.mp4", "--guidance", "pose", "--cast", "1=anna", "--source-storage", "live"],
        "cast, person 1: source_storage live: a character's keys and values are in the cache",
    ),
    "a live source that is stored small": (
        ["clip.mp4", "--source-storage", "live", "--cache-dtype", "int8"],
        "cache_dtype: it would have no effect, because keys and values of a live source are kept nowhere",
    ),
    "real guidance twice": (
        ["clip.mp4", "--true-cfg-scale", "2"],
        "here guidance_scale is real guidance already: leave true_cfg_scale out",
    ),
    "a rule of Z-Image's guidance without guidance": (
        ["clip.mp4", "--cfg-truncation", "0.8", "--guidance-scale", "1"],
        "cfg_truncation: it would have no effect, because a guidance_scale of 1 or less",
    ),
    "a rule of Z-Image's guidance elsewhere": (
        ["clip.mp4", "--cfg-normalization", "1"],
        "cfg_normalization: diffusers' pipeline of Stable Diffusion 1.x, 2.x and XL has none; leave it out",
    ),
    "guidance truncated past the end": (["clip.mp4", "--cfg-truncation", "2"], "cfg_truncation: got '2'"),
    "keys that go with limbs, without poses": (
        ["clip.mp4", "--source-positions", "pose", "--guidance", "canny"],
        "it goes by the skeletons of guidance pose, which is not in use (canny)",
    ),
    "keys that go with the limbs of pictures": (
        ["clip.mp4", "--source-positions", "pose", "--guidance", "pose", "--guidance-video", "pose=clip.mp4"],
        "which tell no poses; give pose_json",
    ),
    "a source's pose without keys that move": (
        ["clip.mp4", "--source-pose", "standing"],
        "source_pose belongs to source_positions pose",
    ),
    "a rim that is no number": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--mask-rim", "-1"],
        "mask_rim: got '-1'",
    ),
    "a neighbour heavier than the source": (
        ["clip.mp4", "--neighbour", "2"],
        "neighbour: got '2'; Input should be less than or equal to 1",
    ),
    "a neighbour in masked mode": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--neighbour", "0.5"],
        "neighbour: attention_mode masked does not know figure and ground of the frame before; take source or union",
    ),
    "a neighbour with a cast": (
        ["clip.mp4", "--guidance", "pose", "--cast", "0=anna", "--neighbour", "0.5"],
        "cast and neighbour exclude each other",
    ),
    "cells without masks": (["clip.mp4", "--mask-cells", "area"], "mask_cells: it would have no effect"),
    "cells by another rule": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--mask-cells", "half"],
        "argument --mask-cells: invalid choice: 'half'",
    ),
    "a margin without a still ground": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--still-margin", "2"],
        "still_margin belongs to background still",
    ),
    "a margin that is no number": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--background", "still", "--still-margin", "some"],
        "still_margin: got 'some'; give a number of latent points, 0 or more, or all",
    ),
    "a margin before deep features": (
        [
            *("clip.mp4", *MASKED, "--mask-words", "bear", "--background", "still", "--still-margin", "2"),
            *("--target-masks", "masks", "--reuse-deep-features", "2"),
        ],
        "still_margin and reuse_deep_features exclude each other",
    ),
    "a rim without masks": (["clip.mp4", "--mask-rim", "auto"], "mask_rim belongs to attention_mode masked"),
    "an attribute that is not in the prompt": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--mask-attributes", "crown"],
        "mask_attributes: 'crown' is not in the prompt",
    ),
    "attributes beside given masks": (
        ["clip.mp4", *MASKED, "--source-mask-words", "bear", "--target-masks", "clip.mp4", "--mask-attributes", "hat"],
        "mask_attributes: they join what mask_words find",
    ),
    "a background of no kind": (["clip.mp4", *MASKED, "--mask-words", "bear", "--background", "blue"], "--background"),
    "a background without masks": (["clip.mp4", "--background", "own"], "background belongs to attention_mode masked"),
    "the clip's ground without an inversion": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--background", "clip", "--scheduler", "euler"],
        "background clip: its frames are inverted with ddim, not with euler, or a flow's by its own steps (flow)",
    ),
    "the ground of a clip of poses": (
        ["poses.json", "--guidance", "pose", *MASKED, "--mask-words", "bear", "--background", "clip"],
        "holds poses, no pictures; take source, own or still",
    ),
    "words without masks": (["clip.mp4", "--mask-words", "bear"], "belongs to attention_mode masked"),
    "a source frame past the last": (["clip.mp4", "--source-frame", "2"], "source_frame: got 2"),
    "no frames": (["clip.mp4", "--frame-load-cap", "0"], "frame_load_cap: got '0'"),
    "all frames skipped": (["clip.mp4", "--skip-first-frames", "99"], "of the 3 frames"),
    "poses by a detector that is not there": (
        ["clip.mp4", "--guidance", "pose", "--pose-detector", "demo/none"],
        "pose_detector 'demo/none': the demo has",
    ),
    "nobody in any frame": (
        ["clip.mp4", "--guidance", "pose", "--pose-threshold", "1"],
        "no person is found in any of the 2 frames of the clip; take another --pose-detector, or a --pose-threshold",
    ),
    "a threshold above 1": (["clip.mp4", "--guidance", "pose", "--pose-threshold", "2"], "pose_threshold: got '2'"),
    "a threshold of edges": (["clip.mp4", "--pose-threshold", "0.1"], "no poses are drawn"),
    "nobody in the poses": ([*POSE, "nobody.json"], "nobody.json: nobody is in any of the 2 frames that are taken"),
    "landmarks of MediaPipe": ([*POSE, "landmarks.json"], "MediaPipe's list of landmarks, which is not read"),
    "bodies of 26 points": ([*POSE, "halpe.json"], "26 points (Halpe); read are COCO's 17"),
    "frames of a format that is not read": (["unread"], "pictures that are not read (0002.heic): convert them"),
    "one frame twice": (["twice"], "01.png and 1.png are the same frame by their names; keep one"),
    "poses that are no JSON": (["clip.mp4", "--guidance", "pose", "--pose-json", "text.png"], "not valid JSON"),
    "guidance of another length": (["clip.mp4", "--guidance-video", "canny=five.mp4"], "is for 5 frames; 2 are taken"),
    "guidance that is not there": (["clip.mp4", "--guidance-video", "canny=none.mp4"], "no such file"),
    "a character that is not there": (["clip.mp4", "--character", "nobody"], "'nobody': there is none of that name"),
    "a reference that is not there": (["clip.mp4", "--references", "nobody"], "'nobody': there is none of that name"),
    "a reference twice": (["clip.mp4", "--references", "a", "a"], "references: 'a' is named twice"),
    "pictures as references that no model reads": (
        ["clip.mp4", "--reference-picture", "pose"],
        "reads no reference pictures (FLUX.2 does); name a ControlNet instead, --controlnet pose=MODEL",
    ),
    "a network and a reference picture for one kind": (
        ["clip.mp4", "--reference-picture", "pose", "--controlnet", "pose=demo/controlnet-pose"],
        "--reference-picture: 'pose' was given a network too; name one way",
    ),
    "a character and another source": (
        ["clip.mp4", "--character", "a", "--source", "clip"],
        "exclude each other",
    ),
    "a source that is no picture": (["clip.mp4", "--source-image", "text.png"], "not an image"),
    "a source that is not there": (["clip.mp4", "--source-image", "none.png"], "source_image: no such file"),
    "a black mask": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--source-mask", "black.png"],
        "the mask is nowhere white",
    ),
    "a real source and euler": (["clip.mp4", "--source", "clip", "--scheduler", "euler"], "inverted with ddim"),
    "no steps": (["clip.mp4", "--num-inference-steps", "0"], "num_inference_steps: got '0'"),
    "more steps than noise levels": (["clip.mp4", "--num-inference-steps", "5000"], "1000"),
    "a negative seed": (["clip.mp4", "--seed", "-1"], "seed: got '-1'"),
    "guidance that is no number": (["clip.mp4", "--guidance-scale", "nan"], "guidance_scale: got 'nan'"),
    "a quota that is no size": (["clip.mp4", "--cache-quota", "much"], "cache_quota: write a number and a unit"),
    "a quota of nothing": (["clip.mp4", "--cache-quota", "0"], "cache_quota: give more than 0, or none"),
    "no frames at a time": (["clip.mp4", "--batch-size", "0"], "batch_size: got '0'"),
    "some frames at a time": (["clip.mp4", "--batch-size", "some"], "a number of frames, or auto"),
    "weights that wait on the CPU for the CPU": (["clip.mp4", "--offload", "model", "--device", "cpu"], "leave it out"),
    "layers joined and parted": (["clip.mp4", "--compile", "--offload", "sequential"], "leave one out"),
    "deep features at every step": (["clip.mp4", "--reuse-deep-features", "1"], "reuse_deep_features: got '1'"),
    "a tiny decoder that is not there": (["clip.mp4", "--taesd", "./none"], "none"),
    "a tiny decoder that is a folder of nothing": (["clip.mp4", "--taesd", "empty"], "no config.json in"),
    "a frame rate for a video": (["clip.mp4", "--frame-rate", "5"], "leave the rate out"),
    "an unknown encoder": (["clip.mp4", "--codec", "h266"], "h266"),
    "thresholds the wrong way": (["clip.mp4", "--canny-low-threshold", "201"], "201"),
    "a flag that there is not": (["clip.mp4", "--fps", "5"], "--fps"),
    "a flag without its value": (["clip.mp4", "--seed"], "--seed"),
    "an address of a local file": (["file:clip.mp4"], "is an address"),
    "a playlist called .mp4": (["playlist.mp4"], "its first bytes are those of no MP4"),
    "a concat script called .mp4": (["script.mp4"], "its first bytes are those of no MP4"),
    "a DASH manifest called .mp4": (["manifest.mp4"], "its first bytes are those of no MP4"),
    "a playlist as guidance": (
        ["clip.mp4", "--guidance-video", "canny=playlist.mp4"],
        "is not a video that",
    ),
    "a pipe": (["pipe.mp4"], "neither a file nor a folder"),
    "a video stream that is not there": (["clip.mp4", "--video-stream", "5"], "holds one video stream; allowed is 0"),
    "a video stream below 0": (["clip.mp4", "--video-stream", "-1"], "video_stream: got"),
    "a video stream of pose JSON": (["poses.json", "--video-stream", "0"], "is for a video, but"),
    "a video that is cut off": (["cut.mp4", "--frame-load-cap", "15"], "--allow-partial takes"),
    "YAML that stands for gigabytes": (["clip.mp4", "--config", "laughs.yaml"], "references (*a) are not read"),
    "YAML with code": (["clip.mp4", "--config", "code.yaml"], "not YAML"),
    "YAML nested too deep": (["clip.mp4", "--config", "deep.yaml"], "not YAML"),
    "a setting that stands twice": (
        ["clip.mp4", "--config", "twice_set.yaml"],
        "twice_set.yaml: line 5: the key 'seed' stands in line 3 already",
    ),
    "YAML in UTF-16 that does not say so": (["clip.mp4", "--config", "wide.yaml"], "save it as UTF-8"),
    "the home of nobody": (["clip.mp4", "--cache-dir=~nobody-so/x"], "there is no user 'nobody-so'"),
    "a configuration that is too long": (["clip.mp4", "--config", "large.yaml"], "over 100000 bytes"),
    "a device as config": (["clip.mp4", "--config", "/dev/zero"], "no ordinary file"),
    "10,000 people in a frame": ([*POSE, "crowd.json"], "at most 1000"),
    "poses nested too deep": ([*POSE, "deep.json"], "not valid JSON"),
    "poses that are no numbers": ([*POSE, "nan.json"], "NaN is not a JSON number"),
    "a picture that claims 3,600 million pixels": (["clip.mp4", "--source-image", "bomb.png"], "100 million pixels"),
    "a program called .png": (["clip.mp4", "--source-image", "program.png"], "not an image"),
    "a pickle as LoRA": (["clip.mp4", "--lora", "lora.pt"], "pickles can run code"),
    "a pickle as ControlNet": (["clip.mp4", "--controlnet", "canny=net.bin"], "pickles can run code"),
    "a pickle by another name": (["clip.mp4", "--model", "model.pth"], "pickles can run code"),
    "a model folder with pickles only": (["clip.mp4", "--model", "only-bin", "--guidance"], "save_pretrained(FOLDER)"),
    "a model with code of its own": (["clip.mp4", "--model", "own-code", "--guidance"], "never run"),
    "weights outside of their folder": (
        ["clip.mp4", "--model", "outside", "--guidance"],
        "no .safetensors file beside",
    ),
    "a DoRA as LoRA": (["clip.mp4", "--lora", "dora.safetensors"], "DoRA in kohya's or LyCORIS' layout"),
    "a model for flow matching": (["clip.mp4", "--model", "flow", "--guidance"], "FlowMatchEulerDiscreteScheduler"),
    "a motion module's model": (["clip.mp4", "--model", "motion", "--guidance"], "its unet is a UNetMotionModel"),
    "a prediction type that is none": (
        ["clip.mp4", "--prediction-type", "flow"],
        "(choose from 'epsilon', 'v_prediction', 'sample')",
    ),
    "no step that is controlled": (
        ["clip.mp4", "--num-inference-steps", "2", "--masa-step", "2"],
        "--masa-step 0 controls all steps",
    ),
    "a header longer than its file": (["clip.mp4", "--model", "header.safetensors", "--guidance"], "the length of its"),
}

TABLES: dict[str, dict[str, Case]] = {"render": RENDER, "animate": ANIMATE, "comic": COMICS, "others": OTHERS}
"""Command → its cases; those of `others` name theirs."""

CASES = [(table, case) for table, cases in TABLES.items() for case in cases]


def typed(table: str, case: str) -> list[str]:
    """What the documentation shows."""
    arguments, _ = TABLES[table][case]
    return list(arguments) if table == "others" else [table, *arguments]


def complete(table: str, case: str) -> list[str]:
    """What is run: with an output where the case is not about that, and as quiet and short as can be."""
    arguments, _ = TABLES[table][case]
    if table == "others":
        return [*arguments, *(["-q"] if arguments[1:] and arguments[0] != "cache" else [])]
    output = [] if "-o" in arguments else ["-o", "page.png" if table == "comic" else "out.mp4"]
    frames = [] if table == "comic" else ["--frame-load-cap", "2"]
    return [table, "-q", *output, *SHORT, *frames, *arguments]
