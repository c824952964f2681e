"""The file contract between segmentation programs: data sets in, mask runs out."""

from mask_interchange.coco import export_coco, import_coco
from mask_interchange.codec import decode_video, encode_video, read_masks, write_masks
from mask_interchange.dataset import Dataset, open_dataset
from mask_interchange.errors import (
    DataNameError,
    DatasetError,
    MaskError,
    MaskFileError,
    MaskInterchangeError,
    RunBusyError,
    RunError,
)
from mask_interchange.made_of import MadeOf
from mask_interchange.names import check_name, natural_key
from mask_interchange.png_folders import export_annotations, import_annotations, read_key_frames
from mask_interchange.rle import (
    RunLengths,
    Size,
    check_counts,
    counts_to_runs,
    decode_mask,
    decode_runs,
    empty_mask,
    encode_mask,
    encode_runs,
    mask_area,
    runs_to_counts,
)
from mask_interchange.run import MaskRun, RunManifest
from mask_interchange.single_video import open_video, read_expressions
from mask_interchange.track import (
    Expression,
    MaskTrack,
    VideoMasks,
    binary_from_logits,
    binary_from_probabilities,
    soft_from_probabilities,
    support_from_probabilities,
)
from mask_interchange.video import Video
from mask_interchange.youtube_vis import export_youtube_vis

__all__ = [
    "DataNameError",
    "Dataset",
    "DatasetError",
    "Expression",
    "MadeOf",
    "MaskError",
    "MaskFileError",
    "MaskInterchangeError",
    "MaskRun",
    "MaskTrack",
    "RunBusyError",
    "RunError",
    "RunLengths",
    "RunManifest",
    "Size",
    "Video",
    "VideoMasks",
    "binary_from_logits",
    "binary_from_probabilities",
    "check_counts",
    "check_name",
    "counts_to_runs",
    "decode_mask",
    "decode_runs",
    "decode_video",
    "empty_mask",
    "encode_mask",
    "encode_runs",
    "encode_video",
    "export_annotations",
    "export_coco",
    "export_youtube_vis",
    "import_annotations",
    "import_coco",
    "mask_area",
    "natural_key",
    "open_dataset",
    "open_video",
    "read_expressions",
    "read_key_frames",
    "read_masks",
    "runs_to_counts",
    "soft_from_probabilities",
    "support_from_probabilities",
    "write_masks",
]
