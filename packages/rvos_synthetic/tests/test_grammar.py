"""Expressions: true of their object, false of the others, in a closed vocabulary."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rvos_synthetic import SPLIT_LENGTH, SPLITS, plan_video, render_video, vocabulary
from rvos_synthetic.grammar import ANY_NOUN, FUNCTION_WORDS, VERBS, WORDS
from rvos_synthetic.motion import CAMERA_REACH, CAMERA_SHAKE
from rvos_synthetic.shapes import SHAPES
from rvos_synthetic.textures import COLOURS, PATTERNS

from .measure import SIZE, seen

MEANINGS = {
    wording: (attribute, value)
    for words in (WORDS, VERBS)
    for attribute, values in words.items()
    for value, wordings in values.items()
    for wording in wordings
}


def understood(text: str) -> dict[str, str]:
    """The claims of an expression, found by its longest wordings first; fails on words without meaning."""
    claims, rest = {}, f" {text} "
    for wording in sorted(MEANINGS, key=len, reverse=True):
        if f" {wording} " in rest:
            attribute, value = MEANINGS[wording]
            assert attribute not in claims, f"{text!r} makes two claims about {attribute}"
            claims[attribute] = value
            rest = rest.replace(f" {wording} ", " | ")
    assert set(rest.replace("|", "").split()) <= {*FUNCTION_WORDS, *ANY_NOUN}, f"{text!r} has unknown words"
    return claims


videos = st.tuples(st.sampled_from(SPLITS), st.integers(0, SPLIT_LENGTH - 1))


@given(videos)
@settings(max_examples=40, deadline=None)
def test_an_expression_is_true_of_its_object_and_of_no_other(video):
    """What can be measured is measured on pixels; colour, shape and pattern are those that were rendered."""
    scene, expressions = plan_video(*video, SIZE)
    facts = {}
    for item in scene.objects:
        measured = seen(scene, item)
        motion = measured.motion()
        if motion == "still or spinning":
            motion = "spinning" if abs(item.motion.turn) >= 4096 else "still"
        facts[item.label] = {
            "colour": item.look.colour,
            "pattern": item.look.pattern,
            "shape": item.look.shape,
            "size": measured.size(),
            "side": measured.side(),
            "level": measured.level(),
            "motion": motion,
        }
    for expression in expressions:
        claims = understood(expression.text)
        meant = [label for label, fact in facts.items() if claims.items() <= fact.items()]
        assert meant == [expression.label], f"{expression.text!r}: {facts}"


@given(videos)
@settings(max_examples=60, deadline=None)
def test_every_object_has_one_to_three_expressions_side_by_side(video):
    scene, expressions = plan_video(*video)
    labels = [expression.label for expression in expressions]
    assert labels == sorted(labels)
    assert set(labels) == {item.label for item in scene.objects}
    assert max(Counter(labels).values()) <= 3
    for _, group in itertools.groupby(expressions, key=lambda expression: expression.label):
        own = list(group)
        claims = [understood(expression.text) for expression in own]
        assert claims == [expression.claims for expression in own]
        assert all(a != b for a, b in itertools.combinations(claims, 2))


def test_two_expressions_an_object_are_usual_one_and_three_occur():
    counts = Counter()
    for index in range(100):
        counts.update(Counter(e.label for e in plan_video("train", index)[1]).values())
    assert set(counts) == {1, 2, 3}
    assert counts[2] > 0.7 * counts.total()


def test_the_vocabulary_is_closed_and_no_larger_than_needed():
    words = {
        word for i in range(400) for expression in plan_video("train", i)[1] for word in expression.text.split(" ")
    }
    assert words == set(vocabulary())
    assert all(word.isalpha() and word.islower() for word in vocabulary())
    assert list(vocabulary()) == sorted(vocabulary())


def test_every_look_has_a_word():
    assert set(WORDS["colour"]) == set(COLOURS)
    assert set(WORDS["pattern"]) == set(PATTERNS)
    assert set(WORDS["shape"]) == set(SHAPES)
    assert set(WORDS["motion"]) == set(VERBS["motion"])


def test_every_wording_has_one_meaning():
    wordings = Counter(w for words in (WORDS,) for values in words.values() for ways in values.values() for w in ways)
    assert max(wordings.values()) == 1


def test_articles():
    texts = [e.text for i in range(100) for e in plan_video("valid", i)[1]]
    words = [pair for text in texts for pair in itertools.pairwise(text.split())]
    assert all((second[0] in "aeiou") == (first == "an") for first, second in words if first in ("a", "an"))
    assert any(first == "an" for first, _ in words)


@pytest.mark.parametrize("split", SPLITS)
def test_colour_words_are_the_colours_in_the_frames(split):
    """The mean colour of an object's pixels is nearest to the colour of its word, brightness aside."""
    chromatic = {name: np.array(c) / sum(c) for name, c in COLOURS.items() if name not in ("white", "black", "pink")}
    checked = 0
    for index in range(12):
        video = render_video(split, index)
        for item in video.scene.objects:
            pixels = video.frames[video.labels == item.label]
            if item.look.colour in chromatic and len(pixels) > 500:
                mean = pixels.mean(0) / pixels.mean(0).sum()
                nearest = min(chromatic, key=lambda name: np.abs(chromatic[name] - mean).sum())
                assert nearest == item.look.colour
                checked += 1
    assert checked > 5


def test_directions_hold_in_the_picture_too():
    """The camera never moves as far as an object with a direction."""
    for index in range(60):
        scene, _ = plan_video("train", index)
        for item in scene.objects:
            if item.look.motion in ("left", "right", "up", "down"):
                assert 2 * item.motion.reach > 2 * (2 * (CAMERA_REACH + CAMERA_SHAKE))
