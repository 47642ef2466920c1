"""The tab for characters that are kept under a name."""

from __future__ import annotations

import tempfile
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.poses.named_poses import pose_names
from masactrl_video.settings.presets import preset_names
from masactrl_video.sources.characters.archive import export_character, import_character
from masactrl_video.sources.characters.index import PICTURE_NAME, PictureRecipe, Recipe
from masactrl_video.sources.characters.store import (
    character_names,
    check_vacant,
    default_root,
    open_character,
    remove_character,
)
from masactrl_video.web.forms import SettingsForm
from masactrl_video.web.job_view import JobView
from masactrl_video.web.parts import note, picture_url, problem, row
from masactrl_video.web.queue import Queue

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_EMPTY = "A character that is being made is shown here."


class CharactersTab:
    """Make a character, look at those that there are, rename, give away and take over."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._ask()
            with gr.Column(scale=6, min_width=320):
                self.view = JobView(queue, ("source make",), _EMPTY)
                self._show()
        self._wire()

    def _ask(self) -> None:
        form = self.form = SettingsForm("source make", asked_elsewhere=("source_image", "prompt"))
        self.name = gr.Textbox("", label="Name", info="letters, digits, - and _", elem_id="character-name")
        self.prompt = gr.Textbox(
            "a bear in a red shirt and blue pants standing in the meadow", label="What it looks like"
        )
        with gr.Row():
            self.pose = gr.Dropdown(["none", *pose_names()], value="standing", label="Pose")
            self.words = gr.Textbox("bear", label="Its words", info="by which prompts name it, separated by spaces")
        with gr.Accordion("Or from a picture", open=False):
            self.picture = gr.File(label="Picture of it", height=140)
            self.caption = gr.Textbox("", label="Caption", info="a text that names the character in the picture")
        with gr.Row():
            self.preset = gr.Dropdown(preset_names(), value="demo", label="Preset")
            form.place("num_inference_steps", "seed")
        form.place_rest()
        self.wrong = gr.HTML("")
        self.make = gr.Button("Make the character", variant="primary", elem_id="character-make")

    def _show(self) -> None:
        gr.HTML("<h2>Kept characters</h2>")
        self.gallery = gr.HTML(self._all())
        self.chosen = gr.Dropdown(self._names(), value=None, label="Character", elem_id="character-chosen")
        self.details = gr.HTML("")
        with gr.Row():
            self.new_name = gr.Textbox("", label="New name", scale=3)
            self.rename = gr.Button("Rename", size="sm", elem_id="character-rename")
        with gr.Row():
            self.export = gr.Button("Export", size="sm", elem_id="character-export")
            self.bring = gr.UploadButton("Import a .zip", size="sm", file_types=[".zip"])
            self.remove = gr.Button("Remove", size="sm", variant="stop")
        self.exported = gr.File(label="Exported character", visible=False, interactive=False)
        self.told = gr.HTML("")

    def _wire(self) -> None:
        self.form.wire(self.preset)
        asked = [self.name, self.prompt, self.pose, self.words, self.picture, self.caption]
        self.view.fill(self.make, self._added, [self.preset, *asked, *self.form.inputs], self.wrong)
        again = [self.gallery, self.chosen, self.told]
        self.view.html.change(self._renewed, self.chosen, [self.gallery, self.chosen], **_QUIET)
        self.chosen.input(self._described, self.chosen, self.details, **_QUIET)
        self.rename.click(self._rename, [self.chosen, self.new_name], again, **_QUIET)
        self.bring.upload(self._import, self.bring, again, **_QUIET)
        self.remove.click(
            self._remove, self.chosen, again, js="(name) => window.confirm(`Remove ${name}?`) ? name : ''", **_QUIET
        )
        self.export.click(self._export, self.chosen, [self.exported, self.told], **_QUIET)

    def _names(self) -> list[str]:
        return character_names(default_root())

    def _all(self) -> str:
        """A picture of each."""
        shown = []
        for name in self._names():
            try:
                shown.append((picture_url(open_character(default_root(), name).read(PICTURE_NAME)), name))
            except UserError:
                shown.append(("data:,", f"{name} (damaged)"))
        return row(shown, "Characters") if shown else note("There is none yet.")

    def _renewed(self, chosen: str | None) -> list[Any]:
        names = self._names()
        return [self._all(), gr.update(choices=names, value=chosen if chosen in names else None)]

    def _described(self, name: str | None) -> str:
        if not name:
            return ""
        try:
            character = open_character(default_root(), name)
        except UserError as error:
            return problem(str(error))
        recipe = character.index.recipe
        facts = {
            "kind": recipe.kind,
            "caption": recipe.caption,
            "words": " ".join(recipe.words),
            "pose": _pose_of(recipe),
            "size": f"{recipe.width}x{recipe.height}",
        }
        if not isinstance(recipe, PictureRecipe):
            facts |= {"model": recipe.model, "steps": str(recipe.num_inference_steps), "seed": str(recipe.seed)}
        lines = "".join(f"<tr><th scope='row'>{key}</th><td>{escape(str(one))}</td></tr>" for key, one in facts.items())
        return f"<table class='mv-table'>{lines}</table>"

    def _added(
        self, preset: str, name: str, prompt: str, pose: str, words: str, picture: str | None, caption: str, *form: Any
    ) -> tuple[Any, str]:
        try:
            changes, files = self.form.changes(preset, form)
            name = name.strip()
            check_vacant(default_root(), name, overwrite=False)
            more: dict[str, Any] = {"name": name, "words": words.split() or None}
            changes["clip"] = name
            if picture:
                files["source_image"] = Path(picture)
                more["caption"] = caption or None
            else:
                changes["prompt"] = prompt
                more["pose"] = pose if pose != "none" else None
            job = self.queue.add("source make", preset, changes, _given(more), files)
        except UserError as error:
            return gr.skip(), problem(str(error))
        return job.name, ""

    def _rename(self, name: str | None, new: str) -> list[Any]:
        """A copy under the new name, checked, before the old one goes."""
        try:
            if not name:
                raise UserError("Choose a character first.")
            with tempfile.TemporaryDirectory(dir=self.queue.places.uploads) as folder:
                file = Path(folder) / "character.zip"
                check_vacant(default_root(), new.strip(), overwrite=False)
                export_character(default_root(), name, file)
                import_character(default_root(), file, new.strip())
            remove_character(default_root(), name)
        except UserError as error:
            return [gr.skip(), gr.skip(), problem(str(error))]
        return [*self._renewed(new.strip()), note(f"{name} is called {new.strip()} now.")]

    def _import(self, file: str) -> list[Any]:
        try:
            character = import_character(default_root(), Path(file))
        except UserError as error:
            return [gr.skip(), gr.skip(), problem(str(error).replace(f"{Path(file).parent}/", ""))]
        return [*self._renewed(character.index.name), note(f"{character.index.name} is kept.")]

    def _remove(self, name: str | None) -> list[Any]:
        if not name:
            return [gr.skip(), gr.skip(), gr.skip()]
        try:
            remove_character(default_root(), name)
        except UserError as error:
            return [gr.skip(), gr.skip(), problem(str(error))]
        return [*self._renewed(None), note(f"{name} is removed.")]

    def _export(self, name: str | None) -> list[Any]:
        try:
            if not name:
                raise UserError("Choose a character first.")
            folder = Path(tempfile.mkdtemp(dir=self.queue.places.uploads))
            export_character(default_root(), name, folder / f"{name}.zip")
        except UserError as error:
            return [gr.skip(), problem(str(error))]
        return [gr.update(value=str(folder / f"{name}.zip"), visible=True), ""]


def _given(more: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in more.items() if value is not None}


def _pose_of(recipe: Recipe | PictureRecipe) -> str:
    if isinstance(recipe, PictureRecipe):
        return "kept" if recipe.has_pose else "none"
    return recipe.pose or "none"
