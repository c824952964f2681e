"""What a weights file that this project wrote says of itself. Needs no torch, which command lines import late."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from program_kit.errors import CheckpointError

SUFFIX = ".safetensors"
FORMAT = "rvos-fusion 1"
LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library
BEFORE_FORMATS = {"model", "config", "source_sha256"}  # the metadata of SOC, MUTR and ReferFormer in version 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where weights come from. Fields of a training are empty for files that were converted or made before version 0.2.

    Attributes:
        model: name of the model.
        config: name of its configuration.
        source_sha256: SHA-256 of the file that it was made from; empty for weights that were trained here.
        tokenizer: the one that the network was trained with, as the option `--tokenizer` takes it.
        short_side: of the frames that it was trained on, in pixels; None where frames had several.
        precision: of the training, `no`, `bf16` or `fp16`.
        recipe: name of the training's configuration.
    """

    model: str
    config: str
    source_sha256: str = ""
    tokenizer: str = ""
    short_side: int | None = None
    precision: str = ""
    recipe: str = ""

    @property
    def training(self) -> str:
        """What is known of the training, in brackets for a message; empty where nothing is."""
        facts = {"recipe": self.recipe, "tokenizer": self.tokenizer, "precision": self.precision}
        said = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
        return f" (trained with {said})" if said else ""

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of a safetensors file, in the layout `FORMAT`."""
        needed = {"format": FORMAT, "model": self.model, "config": self.config, "source_sha256": self.source_sha256}
        return needed | {name: str(value) for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: Path) -> Self | None:
        """From the metadata of a safetensors file; None for a file that others wrote, whatever it says of itself.

        Files of version 0.1, the bundled `demo*.safetensors` among them, have other layouts: SOC, MUTR and ReferFormer
        name no format, AOT and DeAOT (`aot-deaot 1`) call the model `family`, UNINEXT (`uninext`) does not name it.

        Raises:
            CheckpointError: a later version wrote it.
        """
        layout = metadata.get("format", "")
        if layout.startswith("rvos-fusion ") and layout != FORMAT:
            raise CheckpointError(f"{path}: expected format {FORMAT!r}, found {layout!r}; update this program")
        ours = {"aot-deaot 1": metadata.get("family"), "uninext": "uninext", FORMAT: metadata.get("model")}
        model = metadata["model"] if metadata.keys() == BEFORE_FORMATS else ours.get(layout)
        if model is None or "config" not in metadata:
            return None
        side = metadata.get("short_side", "")
        return cls(
            model=model,
            config=metadata["config"],
            source_sha256=metadata.get("source_sha256", ""),
            tokenizer=metadata.get("tokenizer", ""),
            short_side=int(side) if re.fullmatch("[1-9][0-9]{0,5}", side) else None,
            precision=metadata.get("precision", ""),
            recipe=metadata.get("recipe", ""),
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What a file says of itself; None for a file that others wrote, or that is no readable safetensors file.

        Raises:
            CheckpointError: a later version wrote it.
        """
        if path.suffix != SUFFIX:
            return None
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, LONGEST_HEADER)))
            metadata = header.get("__metadata__") or {}
            readable = all(isinstance(value, str) for value in metadata.values())
        except (OSError, ValueError, AttributeError, RecursionError):
            return None  # loading the weights says what is wrong
        return cls.of(metadata, path) if readable else None
