"""Referring expressions that are true of one object of a scene and false of all others.

A claim about an object is True, False or None (ambiguous): a circle that crosses the middle is neither "on the left"
nor clearly not. An expression is used if all its claims are True of its object, and if for every other object at least
one claim is False. None counts for neither.

- Colour, pattern and shape are those that were rendered.
- There are two sizes, with nothing between them. An object that grows or shrinks is neither small nor big.
- A motion is that of the object against the background. The camera is slow enough that it is true in the picture too.
- A place ("on the left") is true if it holds whenever part of the object may be in the picture.

Only the words "left" and "right" name sides and sideways directions: swap them for a mirrored video, and every
expression stays true.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

from rvos_synthetic.random_stream import RandomStream
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

AMBIGUOUS_MOTIONS = (
    {"still", "spinning"},
    {"still", "growing"},
    {"still", "shrinking"},
)  # none changes its place
MIDDLE = 42, 58  # percent of the picture; places in between are ambiguous

Claims = dict[str, str]  # attribute -> its value
Truths = dict[str, dict[str, bool | None]]  # attribute -> value -> whether it is true; None if ambiguous
Words = Mapping[str, Mapping[str, tuple[str, ...]]]  # attribute -> value -> ways to say it


@dataclass(frozen=True, slots=True)
class ReferringExpression:
    """An expression, the label of the object that it refers to, and its claims (attribute -> value)."""

    text: str
    label: int
    claims: Mapping[str, str]


def vocabulary() -> tuple[str, ...]:
    """Every word that can occur in an expression, in alphabetical order."""
    words: set[str] = {*FUNCTION_WORDS, *ANY_NOUN}
    for table in (*WORDS.values(), *VERBS.values()):
        words.update(word for wordings in table.values() for wording in wordings for word in wording.split())
    return tuple(sorted(words))


def truths(scene: Scene, item: SceneObject) -> Truths:
    """Whether each claim (attribute -> value) is true of an object; None if it is ambiguous."""
    look = item.look
    rendered = {"colour": look.colour, "pattern": look.pattern, "shape": look.shape, "size": look.size}
    answers: Truths = {
        attribute: {value: value == fact for value in WORDS[attribute]} for attribute, fact in rendered.items()
    }
    if look.resizing:
        answers["size"] = dict.fromkeys(WORDS["size"])
    answers["motion"] = {value: _moves_as(look.motion, value) for value in WORDS["motion"]}
    path = scene.path(item)
    answers["side"] = _stays([100 * pose.x // scene.width for pose in path], "left", "right")
    answers["level"] = _stays([100 * pose.y // UNIT for pose in path], "top", "bottom")
    return answers


def _moves_as(motion: str, value: str) -> bool | None:
    """Whether the name of a motion is true of another one."""
    return None if {motion, value} in AMBIGUOUS_MOTIONS else motion == value


def _stays(places: list[int], first: str, last: str) -> dict[str, bool | None]:
    """Whether all places (percent) are in the first half of the picture, and in the last half."""
    low, high = MIDDLE
    if all(place < low for place in places):
        return {first: True, last: False}
    if all(place >= high for place in places):
        return {first: False, last: True}
    return {first: None, last: None}


def describe(scene: Scene, random: RandomStream) -> tuple[ReferringExpression, ...] | None:
    """Expressions for every object, in the order of the objects: mostly two for each, sometimes one or three.

    Returns:
        None if there are fewer than three possible expressions for some object.
    """
    facts = [truths(scene, item) for item in scene.objects]
    expressions = []
    for item, own in zip(scene.objects, facts, strict=True):
        distinguishing = _distinguishing_claims(own, [other for other in facts if other is not own])
        if len(distinguishing) < 3:
            return None
        count = random.choice((1, 2, 2, 2, 2, 2, 2, 2, 2, 3))
        expressions += [
            ReferringExpression(text=text, label=item.label, claims=claims)
            for text, claims in _wordings(distinguishing, count, random)
        ]
    return tuple(expressions)


def _distinguishing_claims(own: Truths, others: list[Truths]) -> list[Claims]:
    """All combinations of at most three claims that are true of an object and false of every other, shortest first."""
    claims = {a: value for a in WORDS for value, true in own[a].items() if true}
    refuted = [{a for a, value in claims.items() if other[a][value] is False} for other in others]
    return [
        {a: claims[a] for a in chosen}
        for length in (1, 2, 3)
        for chosen in combinations(claims, length)
        if all(not attributes.isdisjoint(chosen) for attributes in refuted)
    ]


def _wordings(distinguishing: list[Claims], count: int, random: RandomStream) -> list[tuple[str, Claims]]:
    """`count` expressions with different claims and in different styles."""
    shortest = [claims for claims in distinguishing if len(claims) == len(distinguishing[0])]
    first = random.choice(shortest if random.chance(50) else distinguishing)
    chosen = [first, *random.shuffled([claims for claims in distinguishing if claims != first])][:count]
    styles: list[Callable[[Claims, RandomStream], list[str]]] = [*random.shuffled([_phrase, _clause]), _lead]
    return [(_with_articles(style(claims, random)), claims) for style, claims in zip(styles, chosen, strict=False)]


def _phrase(claims: Claims, random: RandomStream) -> list[str]:
    """The small red star on the left moving up."""
    return [random.choice(("the", "a")), *_named(claims, random), *_said(claims, random, "side", "level", "motion")]


def _clause(claims: Claims, random: RandomStream) -> list[str]:
    """The star that is small and red and moves up."""
    noun = _said(claims, random, "shape")
    stays = _said(claims, random, "size", "colour", "pattern", "side", "level")
    moves = _said(claims, random, "motion", words=VERBS)
    if not stays and not moves:  # the shape is the only claim
        return ["the", random.choice(ANY_NOUN), "that", "is", "a", *noun]
    if stays:
        stays[0] = f"is {stays[0]}"
    return ["the", *(noun or [random.choice(ANY_NOUN)]), "that", " and ".join([*stays, *moves])]


def _lead(claims: Claims, random: RandomStream) -> list[str]:
    """On the left moving up a small red star."""
    return [*_said(claims, random, "side", "level", "motion"), "a", *_named(claims, random)]


def _named(claims: Claims, random: RandomStream) -> list[str]:
    """Small red star."""
    noun = _said(claims, random, "shape") or [random.choice(ANY_NOUN)]
    return [*_said(claims, random, "size", "colour", "pattern"), *noun]


def _said(claims: Claims, random: RandomStream, *attributes: str, words: Words = WORDS) -> list[str]:
    """Words for the claims about these attributes."""
    return [random.choice(words[a][claims[a]]) for a in attributes if a in claims]


def _with_articles(parts: list[str]) -> str:
    """The parts as one text, with "an" where it belongs."""
    words = " ".join(parts).split()
    return " ".join(
        "an" if word == "a" and following[0] in "aeiou" else word
        for word, following in zip(words, [*words[1:], "."], strict=True)
    )
