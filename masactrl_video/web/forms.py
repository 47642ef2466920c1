"""A form for the settings of a command. A new setting appears by itself, with its help, range and dependence."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gradio as gr

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import Command, settings_for
from masactrl_video.settings.presets import read_preset
from masactrl_video.web.form_fields import BY_ITSELF, FormField, field_of, idle_settings, is_a_place
from masactrl_video.web.job import record_of

_GROUPS = {
    "clip": "Frames: which, how many, what size",
    "guidance": "Guidance: edges and poses",
    "model": "Model",
    "prompt": "Prompt, steps and seed",
    "source": "Source: whose looks the frames take",
    "attention": "Attention: how much the frames take from the source",
    "inversion": "Inversion of a given picture",
    "work": "Batches and memory",
    "speed": "Speed",
    "engine": "Engine: this process or a cluster",
    "output": "The video file",
    "grid": "Grid",
    "methods": "Other methods",
    "targets": "Targets",
}


class SettingsForm:
    """Components for the settings of a command, in the order of their groups."""

    def __init__(self, command: str, asked_elsewhere: Collection[str] = ()) -> None:
        """Args: asked_elsewhere: settings for which the page has something better than a form."""
        self.record = record_of(command)
        self.preset = gr.State("demo")
        controls = read_preset("demo").get("controls", {})
        fields = [field_of(self.record, name, controls) for name in settings_for(self.record, cast(Command, command))]
        self._left = [field for field in fields if _is_asked(field, asked_elsewhere)]
        self.fields: dict[str, FormField] = {}
        self.components: dict[str, Any] = {}

    def place(self, *names: str, up_to: float | None = None) -> None:
        """Put the components of some settings here.

        Args:
            up_to: of numbers without an upper bound: where their sliders end.
        """
        preset = read_preset("demo")
        idle = idle_settings(self.record, self._left, preset, {})
        for name in names:
            field = next(field for field in self._left if field.name == name)
            field = field if up_to is None else replace(field, most=up_to)
            self._add(field, preset, idle)

    def place_rest(self, title: str = "All other settings") -> None:
        """Put the others here, closed up by their groups."""
        preset = read_preset("demo")
        idle = idle_settings(self.record, self._left, preset, {})
        groups: dict[str, list[FormField]] = {}
        for field in self._left:
            if field.name not in self.fields:
                groups.setdefault(field.about.group, []).append(field)
        with gr.Accordion(title, open=False, elem_classes="all-settings"):
            for group, fields in groups.items():
                with gr.Accordion(_GROUPS.get(group, group.capitalize()), open=False):
                    for field in fields:
                        self._add(field, preset, idle)

    @property
    def inputs(self) -> list[Any]:
        """All components, for a handler's inputs; hand their values to `changes`."""
        return [self.components[name] for name in self.fields]

    def changes(self, preset: str, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings that are said, and those of them that are files which were sent.

        Raises:
            UserError: text that does not hold what it should.
        """
        base = read_preset(preset)
        said = {field.name: field.said(value, base) for field, value in zip(self.fields.values(), values, strict=True)}
        given = {name: value for name, value in said.items() if value is not None}
        files = {name: Path(given.pop(name)) for name in list(given) if self.fields[name].kind == "file"}
        return given, files

    def wire(self, preset: Any) -> None:
        """Have the form follow the preset, and what has no effect be shown as such.

        Args:
            preset: the component that names it.
        """
        depend = [field for field in self.fields.values() if field.about.inactive or field.about.only]
        idle = gr.State(None)
        preset.input(
            self._of_preset, preset, self.inputs, queue=False, show_progress="hidden", api_visibility="private"
        ).then(
            functools.partial(self._marked, depend),
            [preset, idle, *self.inputs],
            [idle, *(self.components[field.name] for field in depend)],
            **_QUIET,
        )
        triggers = [self._touched(name) for name in self.fields]
        gr.on(
            [trigger for of_one in triggers for trigger in of_one],
            functools.partial(self._marked, depend),
            [preset, idle, *self.inputs],
            [idle, *(self.components[field.name] for field in depend)],
            trigger_mode="always_last",
            **_QUIET,
        )

    def filled(self, preset: str, changes: Mapping[str, Any]) -> list[Any]:
        """Updates that show a job's settings."""
        base = read_preset(preset)
        merged = {**base, **changes}
        return [gr.update(value=field.shown(merged)) for field in self.fields.values()]

    def _add(self, field: FormField, preset: Mapping[str, Any], idle: Mapping[str, str]) -> None:
        self.fields[field.name] = field
        self.components[field.name] = component_for(field, field.shown(preset), idle.get(field.name))

    def _touched(self, name: str) -> list[Any]:
        component = self.components[name]
        return [component.upload, component.clear] if self.fields[name].kind == "file" else [component.input]

    def _of_preset(self, preset: str) -> list[Any]:
        base = read_preset(preset)
        controls = list(base.get("controls", {}))
        return [
            gr.update(value=field.shown(base), **({"choices": controls} if field.kind == "several" else {}))
            for field in self.fields.values()
        ]

    def _marked(self, depend: list[FormField], preset: str, before: dict[str, str] | None, *values: Any) -> list[Any]:
        """Updates of what has lost its effect, or has one again; of nothing else, so that nobody's typing is lost."""
        base = read_preset(preset)
        try:
            said, files = self.changes(preset, values)
        except UserError:
            said, files = {}, {}
        now = idle_settings(self.record, list(self.fields.values()), base, {**said, **files})
        if before is None:
            before = idle_settings(self.record, list(self.fields.values()), read_preset("demo"), {})
        updates = [
            gr.skip()
            if now.get(field.name) == before.get(field.name)
            else gr.update(**_dependence(field, now.get(field.name)))
            for field in depend
        ]
        return [now, *updates]


_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def component_for(field: FormField, value: Any, idle: str | None = None) -> Any:
    """The component that asks for a setting."""
    common: dict[str, Any] = {"label": field.label, "elem_id": None, **_dependence(field, idle)}
    if field.kind == "switch":
        return gr.Checkbox(bool(value), **common)
    if field.kind == "several":
        return gr.CheckboxGroup(list(field.choices), value=value, **common)
    if field.kind == "choice":
        own = [("by itself", BY_ITSELF)] if field.optional else []
        return gr.Dropdown([*own, *((name, name) for name in field.choices)], value=value, **common)
    if field.kind == "file":
        return gr.File(**{**common, "label": f"{field.label}: {field.help}"}, height=140)
    if field.kind == "number" and field.least is not None and _slides(field):
        step = 1 if field.whole else 0.01
        return gr.Slider(field.least, field.most, value=value, step=step, buttons=["reset"], **common)
    if field.kind == "number":
        precision = 0 if field.whole else None
        return gr.Number(value, precision=precision, minimum=field.least, maximum=field.most, **common)
    lines = 2 if field.kind == "pairs" or field.name == "prompt" else 1
    placeholder = {"pairs": "name=value, one a line", "words": "separated by commas", "text": ""}[field.kind]
    return gr.Textbox(value, lines=lines, placeholder=placeholder, **common)


def _dependence(field: FormField, idle: str | None) -> dict[str, Any]:
    """How a component shows whether its setting has an effect."""
    info = field.info if idle is None else f"{field.info}. Has no effect now: {idle}."
    return {"interactive": idle is None, **({"label": field.label} if field.kind == "file" else {"info": info})}


def _slides(field: FormField) -> bool:
    return field.most is not None and field.most <= 1000 and not field.optional


def _is_asked(field: FormField, asked_elsewhere: Collection[str]) -> bool:
    return not (field.about.by_hand or is_a_place(field) or field.name in asked_elsewhere)
