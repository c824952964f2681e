"""Frames as JPEG pictures."""

import cv2
import numpy as np
import numpy.typing as npt

QUALITY = 90
WIDTHS = (640, 1280)  # of reduced pictures, in pixels


def jpeg(frame: npt.NDArray[np.uint8], width: int | None) -> bytes:
    """A frame RGB uint8 [H, W, 3] as a JPEG file, reduced to `width` pixels where it is wider."""
    if width is not None and frame.shape[1] > width:
        height = max(1, round(frame.shape[0] * width / frame.shape[1]))
        frame = np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()
