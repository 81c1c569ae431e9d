"""`fofa-eval`: the accuracy of every subnet of a run."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fofa.accuracy import AccuracyTable
from fofa.commands import GOES_ON
from fofa.commands.cli import (
    make_app,
    parse_resolutions,
    run_app,
    stderr_console,
    stdout_console,
)
from fofa.commands.help import ending
from fofa.commands.int8_options import Int8Options, with_int8_options
from fofa.errors import UserError
from fofa.files import check_replaceable, locked
from fofa.listing import Column, Listing
from fofa.outcomes import outcomes_path
from fofa.precision import Precision, parse_precision
from fofa.space import Architecture, Family, parse_architecture

app = make_app("Measure the accuracy of every subnet of a run, or of named architectures.")
SHOWN = 5
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
CALIBRATION_BATCH, GPU_BATCH = 100, 512
"""Recalibrated statistics depend on their batches, so those are the same on every device."""


@app.command(
    epilog=ending(
        "fofa-eval runs/mine --out mine.json",
        "fofa-eval runs/mine --architectures 22222@128,44444@224 --out two.json",
        "torchrun --nproc-per-node 8 --no-python fofa-eval runs/mine --out mine.json",
    )
)
@with_int8_options
def evaluate(
    *,
    run: Annotated[Path, typer.Argument(help="Run folder, made by fofa-train or fofa-import.")],
    out: Annotated[Path, typer.Option(help="Accuracy table to write (JSON).")],
    data: Annotated[
        str | None,
        typer.Option(
            help="shapes, cifar10:DIR, folder:DIR, imagenet:DIR or wds:TRAIN,VAL; the run's own by "
            "default."
        ),
    ] = None,
    val_share: Annotated[
        float | None,
        typer.Option(help="Share to hold out of --data; a run's own folder stays split as it is."),
    ] = None,
    resolutions: Annotated[
        str | None,
        typer.Option(help="Input sizes in pixels, such as 128,160; the run's by default."),
    ] = None,
    architectures: Annotated[
        str | None,
        typer.Option(
            help="Only these, such as 22222@128,44444@224; all 243 compound subnets by default."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many of the test images.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images in a batch; by default 100, and 512 where a GPU counts right answers.",
        ),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Training images that recalibrate BatchNorm.")
    ] = 2000,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="fp32 (the default); bf16, computed in bfloat16; or int8, as networks exported in "
            "int8, simulated for all subnets at once and checked on a few. The table says so."
        ),
    ] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="The same as --dtype bf16.")] = False,
    int8: Int8Options,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Threads of each process on a CPU; by default as many as cores are free.",
        ),
    ] = None,
    one_at_a_time: Annotated[
        bool,
        typer.Option(
            "--one-at-a-time", help="Share no work between subnets: slower, the same numbers."
        ),
    ] = False,
    outcomes: Annotated[
        bool,
        typer.Option(
            "--outcomes",
            help="Keep beside the table which test image each architecture got right "
            "(NAME.outcomes.json.gz, a bit each): fofa-bench then compares recipes image by image.",
        ),
    ] = False,
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics",
            help="Keep the recalibrated statistics of the named architectures in the run, so that "
            "fofa-export writes the network that was evaluated.",
        ),
    ] = False,
) -> None:
    """Measure top-1 and top-5 of every subnet, and write them to an accuracy table.

    Interrupted, the same command goes on where it stopped. Runs on several processes under
    torchrun.
    """
    from fofa.data import open_data, with_val_share
    from fofa.distributed import (
        WorkerLostError,
        connected,
        find_place,
        set_arithmetic,
        set_threads,
    )
    from fofa.evaluate.plan import Plan, plan_units
    from fofa.evaluate.table import TableRequest, make_table
    from fofa.progress import Progress, duration
    from fofa.runs import Run
    from fofa.runtime.int8 import Quantisation

    precision = parse_precision(dtype or ("bf16" if bf16 else "fp32"), PRECISIONS)
    if bf16 and precision != "bf16":
        raise UserError(f"--bf16 and --dtype {precision} exclude each other")
    quantisation = Quantisation(int8.scheme(), int8.quantisation_images)
    processes = find_place(device)
    set_arithmetic(processes.device, reduced=precision == "bf16")
    num_threads = set_threads(threads, processes)
    opened = Run.open(run)
    data_spec = with_val_share(data, val_share) or opened.record.data_spec
    wanted = architectures or opened.record.finetuned
    named = _parse_architectures(wanted, opened.record.supernet.family)
    if architectures and resolutions is not None:
        raise UserError("--architectures names resolutions already; leave out --resolutions")
    if keep_statistics and not named:
        raise UserError("--keep-statistics needs --architectures: say which to keep")
    if out.is_dir():
        raise UserError(f"{out}: is a folder, expected a file to write")
    check_replaceable(out)
    space = opened.record.supernet.space(
        parse_resolutions(resolutions) or tuple(opened.record.resolutions)
    )
    plan = Plan(
        units=plan_units(space, named, one_at_a_time=one_at_a_time),
        batch_size=batch_size or CALIBRATION_BATCH,
        test_batch_size=batch_size or (GPU_BATCH if processes.device.type == "cuda" else None),
        calibration_images=calibration_images,
        limit=limit,
        bf16=precision == "bf16",
        outcomes=outcomes,
        int8=quantisation if precision == "int8" else None,
    )
    if outcomes:
        check_replaceable(outcomes_path(out))
    console = stderr_console()

    def warn(message: str) -> None:
        if processes.is_main:
            console.print(f"warning: {message}")

    def announce(seconds: float) -> None:
        on = f"with {num_threads} thread{'s' if num_threads > 1 else ''}"
        place = on if processes.device.type == "cpu" else f"on {processes.device}"
        console.print(
            f"{len(plan.architectures)} architectures: about {duration(seconds)} {place}, where "
            "nothing else runs"
        )

    strange = {unit.resolution for unit in plan.units} - set(opened.record.resolutions)
    if strange:
        warn(f"the run was not trained at {', '.join(map(str, sorted(strange)))} px")
    request = TableRequest(
        run=opened,
        data=open_data(data_spec, device=processes.device),
        plan=plan,
        out=out,
        keep_statistics=keep_statistics,
    )
    busy = "another fofa-eval is making this table; wait for it, or choose another --out"
    try:
        with (
            locked(out, busy) if processes.is_main else nullcontext(),
            connected(processes),
            Progress(console if processes.is_main else None) as progress,
        ):
            table = make_table(request, processes, progress, warn, announce)
    except WorkerLostError as error:
        raise UserError(f"{error}; the same command goes on where it stopped") from error
    if processes.is_main:
        _show(table, out)


def _parse_architectures(text: str | None, family: Family) -> list[Architecture]:
    names = re.split(r"[,\s]+", text.strip(", ")) if text else []
    return [parse_architecture(name, family) for name in names]


def _show(table: AccuracyTable, out: Path) -> None:
    """The best architectures, and where the rest is."""
    best = sorted(table.architectures, key=lambda a: (-a.top1, a.macs))[:SHOWN]
    numbers = ("top-1 %", "top-5 %", "M MACs", "M params")
    columns = [Column("architecture"), *(Column(name, is_number=True) for name in numbers)]
    rows = [
        (
            entry.name,
            f"{entry.top1:.2f}",
            f"{entry.top5:.2f}",
            f"{entry.macs / 1e6:.1f}",
            f"{entry.params / 1e6:.2f}",
        )
        for entry in best
    ]
    record = table.evaluation
    console = stdout_console(soft_wrap=True)
    console.print(Listing("Most accurate", columns, rows))
    console.print(
        f"{len(table.architectures)} architectures measured on {record.test_images} test images of "
        f"{table.dataset} after recalibration with {record.calibration_images} training images "
        f"({record.precision}, {record.device}, {record.seconds:.0f} s): {out}"
    )
    if record.int8 is not None:
        for check in record.int8.checks:
            console.print(
                f"{check.name}: simulated {check.simulated_top1:.2f}%, its exported int8 file "
                f"{check.exact_top1:.2f}% of {check.test_images} test images, the same class on "
                f"{check.same_percent:.2f}%"
            )


def main() -> None:
    """Entry point of `fofa-eval`."""
    run_app(app, "fofa-eval", hint=GOES_ON)


if __name__ == "__main__":
    main()
