"""Categories of COCO and YouTube-VIS files: the texts of expressions."""

from mask_interchange.json_files import JsonPlace
from mask_interchange.track import Expression


class Categories:
    """Numbers from 1 for the texts of expressions, in order of appearance; expressions of one text share a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, expression: Expression) -> int:
        """The category of an expression; one without text is called by its id."""
        return self._numbers.setdefault(expression.text or expression.id, len(self._numbers) + 1)

    def entries(self) -> list[dict[str, object]]:
        """The list `categories` of a file."""
        return [{"id": number, "name": name, "supercategory": "object"} for name, number in self._numbers.items()]


def read_categories(at: JsonPlace, tree: object) -> dict[int, str]:
    """The names of the categories of the file `tree`, which may have none. Raises DatasetError."""
    names: dict[int, str] = {}
    for i, entry in enumerate(at.optional(tree, "categories", list) or ()):
        place = at / f"categories[{i}]"
        names[place.get(entry, "id", int)] = place.get(entry, "name", str)
    return names
