# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line ``yolov8-export``: parse, call, print; an error is one line and an exit code."""

from __future__ import annotations

import json
import logging
import os
import reprlib
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import RequestParameters
from yolov8_export.cli.export import ExportCommand, export_command
from yolov8_export.cli.options import (
    DEFAULT_REPOSITORY,
    PROGRAM,
    AsJson,
    Command,
    CommandLine,
    ConfigName,
    Given,
    Group,
    Repository,
    ServedName,
    for_each,
    name_options,
    takes,
)
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.tuning import Tuning
from yolov8_export.errors import ExportError, OptionError, WeightsNotFoundError

# The commands import slow modules themselves, so that --help is fast.

DISTRIBUTION = "yolov8-triton-export"
EXIT_FAILED, EXIT_USAGE, EXIT_NO_WEIGHTS = 1, 2, 3

app = typer.Typer(
    cls=CommandLine,
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
    """Export YOLOv8 weights into a Triton model repository, and check or tune what lies in one."""


app.command("export", cls=ExportCommand, no_args_is_help=True)(export_command)


@app.command("check", cls=Command, no_args_is_help=True)
def _check(
    repository: Annotated[
        Path, typer.Argument(metavar="REPOSITORY", help="Folder that Triton serves", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Check a model repository without a server; exit with 1 if it has a fault."""
    from yolov8_export.checks.repository import check
    from yolov8_export.cli.console import print_findings

    findings = check(repository)
    if as_json:
        typer.echo(json.dumps(findings.to_json(), indent=2, ensure_ascii=False))
    else:
        print_findings(findings, Console())
    raise typer.Exit(EXIT_FAILED if findings.findings else 0)


@app.command("estimate", cls=Command, no_args_is_help=True)
def _estimate(
    name: ServedName,
    repository: Repository = DEFAULT_REPOSITORY,
    config_name: ConfigName = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the memory of a served model, and the throughput of its network on common GPUs."""
    from yolov8_export.cli.console import print_estimate
    from yolov8_export.estimates import estimate

    estimated = estimate(repository, name, config_name)
    if as_json:
        typer.echo(json.dumps(estimated.to_json(), indent=2))
    else:
        print_estimate(estimated, Console())


@app.command("add-config", cls=Command, no_args_is_help=True)
@takes(Group(kind=Tuning, panel="Settings", documented_in=Deployment, unset=for_each(Tuning, "as in config.pbtxt")))
def _add_config(
    name: ServedName,
    config_name: Annotated[
        str,
        typer.Argument(metavar="CONFIG_NAME", help="Name of the new configuration, such as l4", show_default=False),
    ],
    repository: Repository = DEFAULT_REPOSITORY,
    as_json: AsJson = False,
    *,
    given: Given,
) -> None:
    """Write a custom model configuration of a served model, for servers with another kind of GPU."""
    from yolov8_export.cli.console import print_added_config
    from yolov8_export.repository.custom_configs import add_config

    added = add_config(repository, name, config_name, given.new(Tuning))
    if as_json:
        typer.echo(json.dumps(added.to_json(), indent=2))
    else:
        print_added_config(added, Console())


@app.command("compose-env")
def _compose_env(
    repository: Repository = DEFAULT_REPOSITORY,
    config_name: ConfigName = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write, such as docker/.env", show_default="print it")
    ] = None,
    form: Annotated[
        Literal["env", "helm"],
        typer.Option("--format", help="A file .env, or values of the Helm chart in kubernetes/"),
    ] = "env",
) -> None:
    """Print or write what docker/compose.yaml or the Helm chart need to know of a repository, such as memory sizes."""
    from yolov8_export.config.serving import compose_env, helm_values

    text = (helm_values if form == "helm" else compose_env)(repository, config_name)
    if output is None:
        typer.echo(text, nl=False)
    else:  # as a whole or not at all, and never in place of a link or a device
        output = Path(os.path.realpath(output))
        if os.path.lexists(output) and not output.is_file():
            raise OptionError(f"--output: expected a file to write, got the folder, device or pipe {str(output)!r}")
        new = output.with_name(f"{output.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(output)


@app.command("reference")
def _reference(
    repository: Annotated[Path, typer.Option(metavar="FOLDER", help="Reference deployment of the cpu profile")] = Path(
        "model_repository"
    ),
    gpu_repository: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Reference deployment of the gpu profile")
    ] = Path("model_repository_gpu"),
) -> None:
    """Write the configurations of the reference deployments, in a checkout of the project."""
    from yolov8_export.config.reference import committed_labels, write_reference

    labels = committed_labels(repository)
    for path in (*write_reference(repository), *write_reference(gpu_repository, "gpu", labels)):
        typer.echo(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with 1 for an error, 2 for a wrong option, 3 for weights that are not found."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app(arguments, prog_name=PROGRAM)
    except (OptionError, ConfigError) as exc:
        _fail(name_options(str(exc), RequestParameters, ImageLimits, Deployment), EXIT_USAGE)
    except ExportError as exc:
        _fail(str(exc), EXIT_NO_WEIGHTS if isinstance(exc, WeightsNotFoundError) else EXIT_FAILED)
    except OSError as exc:
        where = f"{reprlib.repr(str(exc.filename))}: " if exc.filename is not None else ""
        _fail(f"{where}{exc.strerror or exc}", EXIT_FAILED)
    except Exception as exc:  # noqa: BLE001  (the end of the process; a traceback helps no user)
        place = traceback.extract_tb(exc.__traceback__)[-1]
        said = f"{type(exc).__name__}: {' '.join(str(exc).split())} ({Path(place.filename).name}:{place.lineno})"
        _fail(f"unexpected {said}; please report this fault of {PROGRAM}", EXIT_FAILED)


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)
