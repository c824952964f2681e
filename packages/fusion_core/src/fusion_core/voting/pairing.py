"""Which expressions of a video mean the same object and pool their votes."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from mask_interchange import VideoMasks
from mask_interchange.overlap import overlap

from fusion_core.errors import PairingError
from fusion_core.recipe.nodes import Pairing

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

    Raises:
        PairingError: members name different objects for an expression; or none names one, and the rule is `groups`.
    """
    count = len(members[0].tracks)
    match pairing:
        case Pairing.AUTO:
            return by_group([index if group is None else group for index, group in enumerate(known_groups(members))])
        case Pairing.CONSECUTIVE:
            return consecutive(count)
        case Pairing.GROUPS:
            return by_group(_all_groups(members))
        case Pairing.NONE:
            return by_group(range(count))
        case Pairing.AGREEMENT:
            return walk(count, partial(same_object, members))


def consecutive(count: int) -> tuple[Pool, ...]:
    """The published rule: first with second, third with fourth, ...; an odd last one is left over."""
    pairs = tuple(Pool((index, index + 1)) for index in range(0, count - 1, 2))
    return pairs if count % 2 == 0 else (*pairs, Pool((count - 1,), leftover=True))


def by_group(groups: Iterable[Hashable]) -> tuple[Pool, ...]:
    """All expressions of a group together, given the group of each expression."""
    pooled: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        pooled.setdefault(group, []).append(index)
    return tuple(Pool(tuple(indices)) for indices in pooled.values())


def known_groups(members: Sequence[VideoMasks]) -> list[str | None]:
    """The object of each expression, from any member whose data set gave it; None where none did.

    Raises:
        PairingError: two members name different objects.
    """
    known = []
    for same in zip(*(member.tracks for member in members), strict=True):
        groups = {track.expression.group for track in same} - {None}
        if len(groups) > 1:
            raise PairingError(
                f"video {members[0].video}: members say that expression {same[0].expression.id!r} means the objects"
                f" {', '.join(sorted(map(repr, groups)))}; members of a vote must come from the same data set"
            )
        known.append(groups.pop() if groups else None)
    return known


def _all_groups(members: Sequence[VideoMasks]) -> Sequence[str | None]:
    groups = known_groups(members)
    if None in groups:
        first = members[0]
        raise PairingError(
            f"video {first.video}: expression {first.expression_ids[groups.index(None)]!r} has no group, so pairing"
            " 'groups' cannot tell which object it means. Use data with obj_id, or pairing 'auto' or 'agreement'"
        )
    return groups


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
