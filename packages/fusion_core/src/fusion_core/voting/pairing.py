"""Which expressions of a video mean the same object and pool their votes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mask_interchange import VideoMasks

from fusion_core.errors import PairingError
from fusion_core.recipe.graph import Pairing
from fusion_core.voting.count import overlap

SAME_OBJECT = 0.5  # mean IoU from which on two expressions mean one object: they share at least as much as they differ


@dataclass(frozen=True, slots=True)
class Pool:
    """Expressions that vote together and share the result.

    Attributes:
        expressions: their positions in the first member's order.
        leftover: whether it is an expression without a partner, to which the vote's leftover rule applies.
    """

    expressions: tuple[int, ...]
    leftover: bool = False


def pools(pairing: Pairing, members: Sequence[VideoMasks]) -> tuple[Pool, ...]:
    """Divide the expressions of one video into pools; every expression is in exactly one.

    Args:
        pairing: the rule.
        members: the same video as each member sees it, expressions in the same order.
    """
    count = len(members[0].tracks)
    match pairing:
        case Pairing.CONSECUTIVE:
            return consecutive(count)
        case Pairing.GROUPS:
            return by_group(members)
        case Pairing.NONE:
            return tuple(Pool((index,)) for index in range(count))
        case Pairing.AGREEMENT:
            return walk(count, partial(same_object, members))


def consecutive(count: int) -> tuple[Pool, ...]:
    """The published rule: first with second, third with fourth, ...; an odd last one is left over."""
    pairs = tuple(Pool((index, index + 1)) for index in range(0, count - 1, 2))
    return pairs if count % 2 == 0 else (*pairs, Pool((count - 1,), leftover=True))


def by_group(members: Sequence[VideoMasks]) -> tuple[Pool, ...]:
    """All expressions of an object together, by the group that the data set gives them.

    Raises:
        PairingError: an expression has no group.
    """
    first = members[0]
    groups: dict[str, list[int]] = {}
    for index, track in enumerate(first.tracks):
        if track.expression.group is None:
            raise PairingError(
                f"video {first.video}: expression {track.expression.id!r} has no group, so pairing 'groups' cannot"
                " tell which object it means. Use data with obj_id, or pairing 'agreement'"
            )
        groups.setdefault(track.expression.group, []).append(index)
    return tuple(Pool(tuple(indices)) for indices in groups.values())


def walk(count: int, same: Callable[[int, int], bool]) -> tuple[Pool, ...]:
    """Pool neighbours that mean the same object.

    The walk goes through the expressions in order. An expression that means the same as the next one pools with it. One
    that does not votes alone, and the walk continues with the next one. So an object with one or three expressions does
    not shift all later pairs, as it does in the published rule. If all neighbours pool, this is `consecutive`.

    Args:
        count: number of expressions.
        same: whether the expression at one position means the same object as the one at the next.
    """
    found: list[Pool] = []
    index, refused = 0, False  # refused: the expression before this one did not pool with it
    while index < count:
        if index + 1 < count and same(index, index + 1):
            found.append(Pool((index, index + 1)))
            index, refused = index + 2, False
        else:
            nobody_there = index + 1 == count and not refused
            found.append(Pool((index,), leftover=nobody_there))
            index, refused = index + 1, True
    return tuple(found)


def same_object(members: Sequence[VideoMasks], one: int, other: int) -> bool:
    """Whether the masks of two expressions overlap by at least `SAME_OBJECT`, on average over the members.

    Each member compares its own two tracks: intersection over union of all frames together. A member that finds
    nothing for either expression does not count; if no member counts, the result is empty however they pool.
    """
    overlaps = []
    for member in members:
        both, either = overlap(member.tracks[one].runs, member.tracks[other].runs)
        if either:
            overlaps.append(both / either)
    return not overlaps or sum(overlaps) / len(overlaps) >= SAME_OBJECT
