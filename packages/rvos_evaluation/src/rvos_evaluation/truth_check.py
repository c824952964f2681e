"""Whether the masks that a data set brings fit its description."""

from collections.abc import Iterable, Iterator

from mask_interchange import Dataset, DatasetError, Video
from mask_interchange.faults import Fault, FaultKind

from rvos_evaluation.annotations import LabelImages, MaskFolders, VideoAnnotation, open_truth
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.targets import Asked, Folders, folders_of, targets_of


class TruthCheck:
    """Checks the masks of a data set, video by video.

    Args:
        dataset: with masks (`Dataset.truth`).

    Raises:
        EvaluationError: there are no masks at all, or it is not certain what folders of masks stand for.
        DatasetError: a file of masks cannot be read.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.annotations = open_truth(dataset)
        sound = {name: video for name in dataset.videos if (video := _sound(dataset, name)) is not None}
        known = (self.annotations[name] for name in sound if name in self.annotations)
        self.folders = folders_of(known, lambda name: sound[name].expressions) or Folders.EXPRESSIONS

    def faults(self, name: str) -> Iterator[Fault]:
        """What is wrong with the masks of a video; a faulty entry of the description is not told again."""
        video = _sound(self.dataset, name)
        if video is None:
            return
        if name not in self.annotations:
            yield _fault(f"video {name!r}: expected its masks beside those of the others, found none")
            return
        try:
            annotation = self.annotations[name]
            if self.dataset.has_sentences or isinstance(annotation, LabelImages):
                yield from _faults(annotation, video, Asked.of(self.dataset, name), self.folders)
            elif isinstance(annotation, MaskFolders):
                yield from _faults_of_masks(annotation, video, [(name,) for name in annotation.folders])
        except (EvaluationError, DatasetError) as error:
            yield _fault(str(error))


def _faults(annotation: VideoAnnotation, video: Video, asked: Asked, folders: Folders) -> Iterator[Fault]:
    targets = targets_of(annotation, None, asked, folders)
    if isinstance(annotation, MaskFolders):
        shown = {name for target in targets for name in target.masks or ()}
        for odd in (name for name in annotation.folders if name not in shown):
            yield _fault(f"video {video.id!r}: {annotation.place / odd} belongs to no expression")
        if folders is Folders.EXPRESSIONS:
            for absent in (one.id for one in video.expressions if one.id not in shown):
                yield _fault(
                    f"video {video.id!r}, expression {absent!r}: {annotation.place} has no folder of its masks"
                )
    whose = [None] if isinstance(annotation, LabelImages) else dict.fromkeys(one.masks for one in targets)
    yield from _faults_of_masks(annotation, video, whose)


def _faults_of_masks(
    annotation: VideoAnnotation, video: Video, whose: Iterable[tuple[str, ...] | None]
) -> Iterator[Fault]:
    """Masks of frames that are not there, or of another size."""
    names, size = set(video.frame_names), video.size
    for masks in whose:
        for frame in annotation.frames(masks):
            where = f"video {video.id!r}, frame {frame.name!r}: {annotation.place}"
            if frame.name not in names:
                yield _fault(f"{where} has masks of a frame that the video does not have")
                break
            if frame.labels.shape != size:
                height, width = frame.labels.shape
                yield _fault(
                    f"{where}: expected masks of {size[1]}x{size[0]} pixels as the frames, found {width}x{height}"
                )
                break


def _sound(dataset: Dataset, name: str) -> Video | None:
    try:
        return dataset.videos[name]
    except DatasetError:
        return None


def _fault(message: str) -> Fault:
    return Fault(kind=FaultKind.MASKS, message=message)
