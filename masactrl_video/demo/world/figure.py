"""A character: clothes over limbs over keypoints."""

import colorsys
from dataclasses import dataclass

import numpy as np

from masactrl_video.demo.world import heads
from masactrl_video.demo.world.draw import Canvas, Colour, Points, capsule, ellipse
from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.poses import (
    FOOT,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    Keypoints,
)

CLOTHES: dict[str, Colour] = {
    "red": (214, 48, 52),
    "blue": (46, 92, 214),
    "green": (44, 158, 74),
    "yellow": (246, 206, 44),
    "purple": (142, 72, 190),
    "orange": (242, 132, 34),
}
_LIMBS: dict[str, Colour] = {"panda": (52, 48, 54)}  # where arms and feet differ from the head
_PRINT: Colour = (250, 248, 242)
_LINE = 0.009  # outline, in heights of the figure


@dataclass(frozen=True)
class Figure:
    """A figure about to be drawn: where its joints are, how tall it is, and what it wears."""

    joints: Keypoints
    height: float
    fur: Colour
    limbs: Colour
    shirt: Colour
    trousers: Colour
    identity: Identity

    def limb(self, canvas: Canvas, start: int, end: int, radii: tuple[float, float], colour: Colour) -> None:
        """A capsule from joint to joint; radii in heights of the figure."""
        first, second = (radius * self.height for radius in radii)
        canvas.fill(capsule(self.joints[start], self.joints[end], first, second), colour, _LINE * self.height)


def figure_of(identity: Identity, joints: Keypoints, height: float) -> Figure:
    """Gives an identity the joints of a pose, in picture heights. (18, 2)"""
    fur, shirt, trousers = identity.shades
    species = identity.species
    return Figure(
        joints=joints,
        height=height,
        fur=shaded(heads.FUR[species], fur),
        limbs=shaded(_LIMBS.get(species, heads.FUR[species]), fur),
        shirt=shaded(CLOTHES[identity.shirt], shirt),
        trousers=shaded(CLOTHES[identity.trousers], trousers),
        identity=identity,
    )


def draw_figure(canvas: Canvas, figure: Figure) -> None:
    """Draws a figure with its shadow; all but the shadow enters the canvas's mask."""
    _shadow(canvas, figure)
    draw_body(canvas, figure)


def draw_body(canvas: Canvas, figure: Figure) -> None:
    """Draws a figure alone, into the canvas's mask too."""
    canvas.in_figure = True
    _legs(canvas, figure)
    _upper_arms(canvas, figure)
    _torso(canvas, figure)
    _forearms(canvas, figure)
    if figure.identity.scarf != "none":
        _scarf(canvas, figure, CLOTHES[figure.identity.scarf])
    heads.draw_head(canvas, figure.identity, figure.joints, figure.height, figure.fur)
    _hat(canvas, figure)
    canvas.in_figure = False


def shaded(colour: Colour, shade: float) -> Colour:
    """The colour made darker (-1) or lighter (+1) without becoming another one."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    lighter = min(1.0, value * (1 + 0.16 * shade))
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation * (1 - 0.18 * shade) if shade > 0 else saturation, lighter)
    return round(red * 255), round(green * 255), round(blue * 255)


def _shadow(canvas: Canvas, figure: Figure) -> None:
    feet = figure.joints[[R_ANKLE, L_ANKLE]]
    ground = np.array([feet[:, 0].mean(), max(feet[:, 1].max(), figure.joints[R_HIP, 1]) + FOOT * figure.height])
    canvas.fill(ellipse(ground, 0.22 * figure.height, 0.03 * figure.height), (86, 92, 96))


def _legs(canvas: Canvas, figure: Figure) -> None:
    for hip, knee, ankle in ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE)):
        sole = figure.joints[ankle] + np.array([np.sign(hip - 9.5) * 0.02, 0.012]) * figure.height
        canvas.fill(ellipse(sole, 0.052 * figure.height, 0.036 * figure.height), figure.limbs, _LINE * figure.height)
        figure.limb(canvas, knee, ankle, (0.052, 0.046), figure.trousers)
        figure.limb(canvas, hip, knee, (0.062, 0.052), figure.trousers)


def _torso(canvas: Canvas, figure: Figure) -> None:
    hips, neck = figure.joints[[R_HIP, L_HIP]].mean(axis=0), figure.joints[NECK]
    height = figure.height
    canvas.fill(ellipse(hips, 0.118 * height, 0.07 * height), figure.trousers, _LINE * height)
    bottom, top = hips + 0.14 * (neck - hips), hips + 0.74 * (neck - hips)
    canvas.fill(capsule(bottom, top, 0.122 * height, 0.1 * height), figure.shirt, _LINE * height)
    if figure.identity.pattern == "stripes":
        _stripes(canvas, bottom, top, height)
    if figure.identity.pattern == "dots":
        _dots(canvas, bottom, top, height)


def _stripes(canvas: Canvas, bottom: Points, top: Points, height: float) -> None:
    up = (top - bottom) / np.linalg.norm(top - bottom)
    across = np.array([up[1], -up[0]])
    for at, half in ((-0.055, 0.102), (0.025, 0.117), (0.105, 0.109), (0.185, 0.092)):
        corners = np.array([[-half, at], [half, at], [half, at + 0.032], [-half, at + 0.032]]) * height
        canvas.fill(bottom + corners @ np.stack([across, up]), _PRINT)


def _dots(canvas: Canvas, bottom: Points, top: Points, height: float) -> None:
    up = (top - bottom) / np.linalg.norm(top - bottom)
    across = np.array([up[1], -up[0]])
    for aside, at in ((-0.06, 0.15), (0.05, 0.165), (0.0, 0.085), (-0.078, 0.02), (0.078, 0.035), (0.0, -0.045)):
        centre = bottom + (aside * across + at * up) * height
        canvas.fill(ellipse(centre, 0.026 * height, 0.026 * height), _PRINT)


def _upper_arms(canvas: Canvas, figure: Figure) -> None:
    for shoulder, elbow in ((R_SHOULDER, R_ELBOW), (L_SHOULDER, L_ELBOW)):
        figure.limb(canvas, shoulder, elbow, (0.054, 0.05), figure.shirt)


def _forearms(canvas: Canvas, figure: Figure) -> None:
    for elbow, wrist in ((R_ELBOW, R_WRIST), (L_ELBOW, L_WRIST)):
        figure.limb(canvas, elbow, wrist, (0.04, 0.036), figure.limbs)
        hand = figure.joints[wrist]
        canvas.fill(ellipse(hand, 0.046 * figure.height, 0.046 * figure.height), figure.limbs, _LINE * figure.height)
        canvas.fill(capsule(figure.joints[elbow], hand, 0.04 * figure.height, 0.036 * figure.height), figure.limbs)
        cuff = figure.joints[elbow] + 0.15 * (hand - figure.joints[elbow])
        canvas.fill(capsule(figure.joints[elbow], cuff, 0.05 * figure.height, 0.048 * figure.height), figure.shirt)


def _scarf(canvas: Canvas, figure: Figure, colour: Colour) -> None:
    neck, height = figure.joints[NECK], figure.height
    tail = neck + np.array([0.055, 0.13]) * height
    canvas.fill(
        capsule(neck + np.array([0.05, 0.0]) * height, tail, 0.03 * height, 0.034 * height), colour, _LINE * height
    )
    canvas.fill(ellipse(neck + np.array([0.0, -0.005]) * height, 0.115 * height, 0.05 * height), colour, _LINE * height)


def _hat(canvas: Canvas, figure: Figure) -> None:
    kind, height = figure.identity.hat, figure.height
    if kind == "none":
        return
    centre, turn = heads.head_frame(figure.joints)
    colour = CLOTHES[figure.identity.hat_colour]

    def place(points: list[tuple[float, float]]) -> Points:
        return centre + (np.array(points) * height) @ turn

    if kind == "cone":
        canvas.fill(place([(-0.085, -0.115), (0.085, -0.115), (0.0, -0.29)]), colour, _LINE * height)
        canvas.fill(ellipse(place([(0.0, -0.29)])[0], 0.028 * height, 0.028 * height), _PRINT, _LINE * height)
        return
    half = [(0.105 * float(np.cos(angle)), -0.1 - 0.1 * float(np.sin(angle))) for angle in np.linspace(0, np.pi, 12)]
    canvas.fill(place(half), colour, _LINE * height)
    canvas.fill(place([(-0.11, -0.115), (0.17, -0.115), (0.165, -0.085), (-0.11, -0.085)]), colour, _LINE * height)
