"""Sentences that are true of one object of a scene and false of all others.

Whether a claim holds for an object is True, False or None: a circle that crosses the middle is neither "on the left"
nor clearly not. A sentence is used when all that it claims is true of its object, and for every other object something
of it is false; None serves neither.

- Colour, pattern and shape are what was painted.
- Sizes come in two kinds with nothing between. What grows or shrinks is neither small nor big.
- A motion is that of the object before the background. The camera is slow enough for it to be true in the picture too.
- A place ("on the left") holds at all times at which any of the object may be within the picture.

Sides and sideways directions are named by "left" and "right" only: in a mirrored video these two words change places
and the sentences stay true.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

from rvos_synthetic.dice import Dice
from rvos_synthetic.scene import Scene, SceneObject
from rvos_synthetic.textures import COLOURS
from rvos_synthetic.units import UNIT

WORDS = {
    "size": {"small": ("small", "little"), "big": ("big", "large")},
    "colour": {colour: (colour,) for colour in COLOURS},
    "pattern": {
        "plain": ("plain",),
        "striped": ("striped",),
        "spotted": ("spotted", "dotted"),
        "checkered": ("checkered",),
    },
    "shape": {
        "circle": ("circle", "disk"),
        "square": ("square", "box"),
        "triangle": ("triangle",),
        "star": ("star",),
        "cross": ("cross",),
        "heart": ("heart",),
        "ring": ("ring", "hoop"),
        "moon": ("moon", "crescent"),
    },
    "side": {"left": ("on the left", "on the left side"), "right": ("on the right", "on the right side")},
    "level": {"top": ("at the top", "in the upper half"), "bottom": ("at the bottom", "in the lower half")},
    "motion": {
        "left": ("moving left", "going to the left"),
        "right": ("moving right", "going to the right"),
        "up": ("moving up", "going upwards"),
        "down": ("moving down", "going downwards"),
        "still": ("standing still", "not moving"),
        "circling": ("moving in a circle", "circling around"),
        "swinging": ("going back and forth", "swinging"),
        "spinning": ("spinning", "turning around"),
        "growing": ("growing", "getting bigger"),
        "shrinking": ("shrinking", "getting smaller"),
    },
}
VERBS = {
    "motion": {
        "left": ("moves left", "goes to the left"),
        "right": ("moves right", "goes to the right"),
        "up": ("moves up", "goes upwards"),
        "down": ("moves down", "goes downwards"),
        "still": ("stands still", "does not move"),
        "circling": ("moves in a circle", "circles around"),
        "swinging": ("goes back and forth", "swings"),
        "spinning": ("spins", "turns around"),
        "growing": ("grows", "gets bigger"),
        "shrinking": ("shrinks", "gets smaller"),
    },
}
ANY_NOUN = ("object", "thing", "shape")
FUNCTION_WORDS = ("a", "an", "the", "that", "is", "and")

VAGUE_MOTIONS = ({"still", "spinning"}, {"still", "growing"}, {"still", "shrinking"})  # all of these keep their place
REST = 42, 58  # percent of the picture: on this side of the first is true, beyond the second is false

Claims = dict[str, str]  # attribute -> its value
Truths = dict[str, dict[str, bool | None]]  # attribute -> value -> whether it is true
Words = Mapping[str, Mapping[str, tuple[str, ...]]]  # attribute -> value -> ways to say it


@dataclass(frozen=True, slots=True)
class ReferringExpression:
    """A sentence and the label of the object that it means; `claims` are what it says (attribute -> value)."""

    text: str
    label: int
    claims: Mapping[str, str]


def vocabulary() -> tuple[str, ...]:
    """Every word that can occur in a sentence, in alphabetical order."""
    words: set[str] = {*FUNCTION_WORDS, *ANY_NOUN}
    for table in (*WORDS.values(), *VERBS.values()):
        words.update(word for wordings in table.values() for wording in wordings for word in wording.split())
    return tuple(sorted(words))


def truths(scene: Scene, item: SceneObject) -> Truths:
    """Whether each claim (attribute -> value) is true of an object; None when one may see it either way."""
    look = item.look
    painted = {"colour": look.colour, "pattern": look.pattern, "shape": look.shape, "size": look.size}
    answers: Truths = {
        attribute: {value: value == fact for value in WORDS[attribute]} for attribute, fact in painted.items()
    }
    if look.resizing:
        answers["size"] = dict.fromkeys(WORDS["size"])
    answers["motion"] = {value: _moves_as(look.motion, value) for value in WORDS["motion"]}
    path = scene.path(item)
    answers["side"] = _stays([100 * pose.x // scene.width for pose in path], "left", "right")
    answers["level"] = _stays([100 * pose.y // UNIT for pose in path], "top", "bottom")
    return answers


def _moves_as(motion: str, value: str) -> bool | None:
    """Whether a motion may be called by another's name."""
    return None if {motion, value} in VAGUE_MOTIONS else motion == value


def _stays(places: list[int], first: str, last: str) -> dict[str, bool | None]:
    """Whether all places (percent) are in the first part of the picture, and in the last part."""
    low, high = REST
    if all(place < low for place in places):
        return {first: True, last: False}
    if all(place >= high for place in places):
        return {first: False, last: True}
    return {first: None, last: None}


def describe(scene: Scene, dice: Dice) -> tuple[ReferringExpression, ...] | None:
    """Sentences for every object, those of one object one after the other: mostly two, sometimes one or three.

    Returns:
        None when there is an object for which fewer than three different sentences can be made.
    """
    facts = [truths(scene, item) for item in scene.objects]
    expressions = []
    for item, own in zip(scene.objects, facts, strict=True):
        told = _telling_claims(own, [other for other in facts if other is not own])
        if len(told) < 3:
            return None
        count = dice.one_of((1, 2, 2, 2, 2, 2, 2, 2, 2, 3))
        expressions += [
            ReferringExpression(text=text, label=item.label, claims=claims)
            for text, claims in _wordings(told, count, dice)
        ]
    return tuple(expressions)


def _telling_claims(own: Truths, others: list[Truths]) -> list[Claims]:
    """All combinations of at most three claims that are true of an object and false of every other, shortest first."""
    claims = {a: value for a in WORDS for value, true in own[a].items() if true}
    refuted = [{a for a, value in claims.items() if other[a][value] is False} for other in others]
    return [
        {a: claims[a] for a in chosen}
        for length in (1, 2, 3)
        for chosen in combinations(claims, length)
        if all(not attributes.isdisjoint(chosen) for attributes in refuted)
    ]


def _wordings(told: list[Claims], count: int, dice: Dice) -> list[tuple[str, Claims]]:
    """`count` sentences that differ in what they say and in how they say it."""
    shortest = [claims for claims in told if len(claims) == len(told[0])]
    first = dice.one_of(shortest if dice.chance(50) else told)
    chosen = [first, *dice.shuffled([claims for claims in told if claims != first])][:count]
    styles: list[Callable[[Claims, Dice], list[str]]] = [*dice.shuffled([_phrase, _clause]), _lead]
    return [(_with_articles(style(claims, dice)), claims) for style, claims in zip(styles, chosen, strict=False)]


def _phrase(claims: Claims, dice: Dice) -> list[str]:
    """The small red star on the left moving up."""
    return [dice.one_of(("the", "a")), *_named(claims, dice), *_said(claims, dice, "side", "level", "motion")]


def _clause(claims: Claims, dice: Dice) -> list[str]:
    """The star that is small and red and moves up."""
    noun = _said(claims, dice, "shape")
    stays = _said(claims, dice, "size", "colour", "pattern", "side", "level")
    moves = _said(claims, dice, "motion", words=VERBS)
    if not stays and not moves:  # the shape is all that there is to say
        return ["the", dice.one_of(ANY_NOUN), "that", "is", "a", *noun]
    if stays:
        stays[0] = f"is {stays[0]}"
    return ["the", *(noun or [dice.one_of(ANY_NOUN)]), "that", " and ".join([*stays, *moves])]


def _lead(claims: Claims, dice: Dice) -> list[str]:
    """On the left moving up a small red star."""
    return [*_said(claims, dice, "side", "level", "motion"), "a", *_named(claims, dice)]


def _named(claims: Claims, dice: Dice) -> list[str]:
    """Small red star."""
    noun = _said(claims, dice, "shape") or [dice.one_of(ANY_NOUN)]
    return [*_said(claims, dice, "size", "colour", "pattern"), *noun]


def _said(claims: Claims, dice: Dice, *attributes: str, words: Words = WORDS) -> list[str]:
    """What is claimed of these attributes, in words."""
    return [dice.one_of(words[a][claims[a]]) for a in attributes if a in claims]


def _with_articles(parts: list[str]) -> str:
    """The parts as a sentence, with "an" where it belongs."""
    words = " ".join(parts).split()
    return " ".join(
        "an" if word == "a" and following[0] in "aeiou" else word
        for word, following in zip(words, [*words[1:], "."], strict=True)
    )
