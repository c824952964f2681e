"""The command line of a mask propagator.

A program describes itself in a `PropagatorProgram` and gets its command line from `propagator_app`. Options of its own
are the fields of a dataclass, annotated as typer wants parameters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from mask_interchange.errors import MaskInterchangeError
from mask_interchange.run import MaskRun

from program_kit.app import add_checkpoint_commands, plain_app, user_errors, version_option
from program_kit.messages import log
from program_kit.options import (
    CheckpointOption,
    DamagedOption,
    DatasetOption,
    DeviceOption,
    MemoryOption,
    PrecisionOption,
    SoftMasksOption,
    SplitOption,
    ThreadsOption,
    VideoOption,
    VideosOption,
    WeightsOption,
    checked_device,
    config_option,
    open_source,
    set_memory,
    set_threads,
    with_options,
)
from program_kit.propagator_program import PropagatorProgram, PropagatorRequest, PropagatorWork
from program_kit.stretch import ALL, parse_frames
from program_kit.weights import choose_network

__all__ = ["PropagatorProgram", "PropagatorRequest", "propagator_app"]


def propagator_app(program: PropagatorProgram[Any]) -> typer.Typer:
    """The command line of a program; `--help` shows it."""
    app = plain_app(help=program.about, invoke_without_command=True)
    config_choice = config_option(program.configs, program.bundled, "--config", help="Which network.")
    add_checkpoint_commands(app, program, config_choice)

    def propagate(
        context: typer.Context,
        dataset: DatasetOption = None,
        split: SplitOption = None,
        video: VideoOption = None,
        damaged: DamagedOption = "stop",
        masks: Annotated[
            list[Path] | None,
            typer.Option(metavar="RUN", help="Run whose key frames are propagated; repeat for several at once."),
        ] = None,
        every_mask: Annotated[
            bool, typer.Option("--every-mask", help="Start from all masks in --masks, not only those of key frames.")
        ] = False,
        mask: Annotated[
            list[Path] | None,
            typer.Option(metavar="PNG", help="Indexed mask of a frame of --video, instead of --masks; repeatable."),
        ] = None,
        prompts: Annotated[
            Path | None,
            typer.Option(
                metavar="JSON",
                hidden=not program.prompts,
                help="Points and boxes on frames of --video (see program_kit.prompts), instead of --masks.",
            ),
        ] = None,
        frame: Annotated[
            list[int] | None,
            typer.Option(help="The frame that --mask belongs to, counted from 0; one for each.", show_default="0"),
        ] = None,
        frames: Annotated[
            str | None,
            typer.Option(metavar="A:B", help="Only frames A to B - 1; the others keep the masks of --masks, or none."),
        ] = None,
        more_objects: Annotated[
            bool,
            typer.Option(
                "--more-objects", hidden=program.max_objects is None, help="Allow ids beyond the limit in --mask."
            ),
        ] = False,
        out: Annotated[
            list[Path] | None,
            typer.Option(metavar="RUN", help="Run folder to write or continue; one for each --masks, in order."),
        ] = None,
        checkpoint: CheckpointOption = None,
        weights: WeightsOption = None,
        config: Annotated[str | None, config_choice] = None,
        videos: VideosOption = None,
        soft_masks: SoftMasksOption = None,
        device: DeviceOption = "auto",
        precision: PrecisionOption = "strict",
        memory: MemoryOption = None,
        threads: ThreadsOption = None,
        show_version: Annotated[bool, version_option(program.name, program.version)] = False,
        **own: Any,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        if prompts is not None and not program.prompts:
            raise typer.BadParameter(f"--prompts: {program.name} takes masks only")
        if frame and not mask:
            raise typer.BadParameter("--frame goes with --mask PNG")
        if every_mask and not masks:
            raise typer.BadParameter("--every-mask goes with --masks RUN")
        _check_masks(masks or [], mask or [], prompts, video, out or [], takes_prompts=program.prompts)
        assert out  # checked above
        with user_errors(program.name, program.error):
            threads = set_threads(threads, out)
            set_memory(memory)
            network, chosen = choose_network(program, config, checkpoint, weights)
            request = PropagatorRequest(
                config=network,
                weights=chosen,
                device=checked_device(device),
                precision=precision,
                options=program.options(**own),
            )
            log.info(f"{program.name}: weights: {chosen}")
            log.debug(f"{program.name}: {network}, {request.device}, {precision}, {threads} threads")
            stretch = ALL if frames is None else parse_frames(frames)
            work = PropagatorWork(program, request, soft_masks, videos, threads, stretch, every_mask)
            if prompts is not None:
                data = open_source(dataset, split, video, damaged=damaged)
                code = work.propagate_prompts(data, prompts, out[0])
            elif mask:
                data = open_source(dataset, split, video, damaged=damaged)
                code = work.propagate_masks(data, _by_frame(mask, frame), more_objects, out[0])
            else:
                sources = [MaskRun.open(path) for path in masks or []]
                data = open_source(dataset, split, video, _expressions(sources[0]) if video else None, damaged=damaged)
                code = work.propagate_runs(data, sources, out)
        raise typer.Exit(code)

    app.callback()(with_options(propagate, program.options))
    return app


def _check_masks(
    masks: Sequence[Path],
    mask: Sequence[Path],
    prompts: Path | None,
    video: Path | None,
    out: Sequence[Path],
    *,
    takes_prompts: bool,
) -> None:
    """Check that the options say what to propagate, and a place for each result."""
    if bool(mask) + (prompts is not None) + bool(masks) != 1:
        others = "--mask PNG or --prompts FILE" if takes_prompts else "--mask PNG"
        raise typer.BadParameter(f"give either --masks RUN (one or more) or {others} with --video")
    if prompts is not None and video is None:
        raise typer.BadParameter("--prompts goes with --video; for a data set give --masks RUN")
    if mask and video is None:
        raise typer.BadParameter("--mask goes with --video; for a data set give --masks RUN")
    wanted = max(1, len(masks))
    if len(out) != wanted:
        raise typer.BadParameter(
            f"give one --out RUN for each --masks, in the same order: expected {wanted}, found {len(out)}"
        )


def _by_frame(mask: Sequence[Path], frame: Sequence[int] | None) -> dict[int, Path]:
    """The files of --mask by the frames of --frame, in the order of the video."""
    frame = frame or [0]
    if len(frame) != len(mask) or len(set(frame)) != len(frame):
        raise typer.BadParameter(
            f"give one --frame for each --mask, in the same order, no two alike: found {len(mask)} masks for {frame}"
        )
    return dict(sorted(zip(frame, mask, strict=True)))


def _expressions(run: MaskRun) -> list[str]:
    """The expressions of a run over one video: they are part of what that video was opened with."""
    try:
        tracks = run.read(run.videos()[0]).tracks if run.videos() else ()
    except MaskInterchangeError:
        return []  # the same error is raised again, and reported, where the video is processed
    return [track.expression.text for track in tracks if track.expression.text is not None]
