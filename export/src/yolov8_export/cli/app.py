# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line: parse, call, print; errors are one line and an exit code."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from yolov8_contract.errors import ConfigError
from yolov8_export.cli import options
from yolov8_export.cli.export import export_command
from yolov8_export.config.deployment import parse_gpus
from yolov8_export.errors import ExportError, OptionError, WeightsNotFoundError

# What is imported inside the commands takes a second, and --help should not.

DISTRIBUTION = "yolov8-triton-export"
PROGRAM = "yolov8-export"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _app(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Export YOLOv8 weights into a Triton model repository, and check what lies in one."""


app.command("export", cls=options.ExportCommand)(export_command)


@app.command("check")
def _check(repository: options.CheckedRepository, as_json: options.AsJson = False) -> None:
    """Check a model repository without a server; the exit code is 1 where something is wrong."""
    from yolov8_export.checks.repository import check_repository
    from yolov8_export.cli.console import print_checked

    checked = check_repository(repository)
    if as_json:
        typer.echo(json.dumps(checked.to_json(), indent=2, ensure_ascii=False))
    else:
        print_checked(checked, Console())
    raise typer.Exit(1 if checked.findings else 0)


@app.command("estimate")
def _estimate(
    name: options.ServedName,
    repository: options.ServedRepository = Path("repository"),
    config_name: options.ConfigName = None,
    as_json: options.AsJson = False,
) -> None:
    """Estimate the memory of an exported model and the throughput of its network on common GPUs."""
    from yolov8_export.cli.console import print_estimate
    from yolov8_export.estimates import make_estimate

    estimate = make_estimate(repository, name, config_name)
    if as_json:
        typer.echo(json.dumps(estimate.to_json(), indent=2))
    else:
        print_estimate(estimate, Console())


@app.command("add-config")
def _add_config(
    name: options.ServedName,
    config_name: options.AddedConfigName,
    repository: options.ServedRepository = Path("repository"),
    as_json: options.AsJson = False,
    max_batch_size: options.TunedMaxBatchSize = None,
    instances: options.TunedInstances = None,
    threads: options.TunedThreads = None,
    queue_delay_us: options.TunedQueueDelayUs = None,
    gpus: options.TunedGpus = None,
    cuda_graphs: options.TunedCudaGraphs = None,
) -> None:
    """Give an exported model a configuration for servers with another kind of GPU, in place of one of that name."""
    from yolov8_export.cli.console import print_added
    from yolov8_export.repository.custom_configs import add_config

    added = add_config(
        repository,
        name,
        config_name,
        max_batch_size=max_batch_size,
        instances=instances,
        threads=threads,
        queue_delay_us=queue_delay_us,
        gpus=None if gpus is None else () if gpus == "all" else parse_gpus(gpus),
        cuda_graphs=cuda_graphs,
    )
    if as_json:
        typer.echo(json.dumps(added.to_json(), indent=2))
    else:
        print_added(added, Console())


@app.command("compose-env")
def _compose_env(
    repository: options.ServedRepository = Path("repository"), config_name: options.ConfigName = None
) -> None:
    """Print the file .env that docker/compose.yaml needs for a repository: sizes of its shared memory and pools."""
    from yolov8_export.config.serving import compose_env

    typer.echo(compose_env(repository, config_name), nl=False)


@app.command("reference")
def _reference(
    repository: Path = Path("model_repository"), gpu_repository: Path = Path("model_repository_gpu")
) -> None:
    """Write the reference deployments' configurations anew, as they are committed."""
    from yolov8_export.config.reference import committed_labels, write_reference

    labels = committed_labels(repository)
    for path in (*write_reference(repository), *write_reference(gpu_repository, "gpu", labels)):
        typer.echo(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 1 for an error, 2 for a wrong option, 3 for weights that can't be had."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app(arguments, prog_name=PROGRAM)
    except (ExportError, ConfigError) as exc:
        typer.echo(f"error: {exc}", err=True)
        sys.exit(3 if isinstance(exc, WeightsNotFoundError) else 2 if isinstance(exc, OptionError | ConfigError) else 1)
