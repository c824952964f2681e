"""Errors as answers that the page can show."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any

from mask_interchange import MaskError, MaskInterchangeError
from mask_interchange.files import is_disk_full
from program_kit.errors import InputError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fusion_core.errors import FusionCoreError
from fusion_core.view.corrections import ConflictError
from fusion_core.view.request_values import NotThereError, RequestError

log = logging.getLogger(__name__)


STATUS: Mapping[type[Exception], int] = {
    NotThereError: 404,
    RequestError: 400,
    InputError: 400,
    MaskError: 400,
    ConflictError: 412,
    FusionCoreError: 409,
    MaskInterchangeError: 409,
}


def answering(endpoint: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Turns user errors into answers that the page shows, and all others into a number that stands in the log."""

    @wraps(endpoint)
    async def answered(self: Any, request: Request) -> Response:
        try:
            return await endpoint(self, request)
        except (FusionCoreError, MaskInterchangeError, InputError) as error:
            status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
            return failed(status, str(error))
        except OSError as error:
            return failed(507 if is_disk_full(error) else 500, f"{error.filename or 'file'}: {error.strerror}")
        except HTTPException:
            raise
        except Exception:
            number = secrets.token_hex(4)
            log.exception("error %s", number)
            return failed(500, f"error {number} inside the program; the terminal says more")

    return answered


def failed(status: int, message: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": message}, status)
