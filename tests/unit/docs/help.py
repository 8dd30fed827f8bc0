# SPDX-License-Identifier: Apache-2.0
"""Check that a command's program, subcommand, options and files exist, without running it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise

import tomllib

from tests.pages import ROOT

TOOLS = (
    "apt-get",
    "cat",
    "curl",
    "docker",
    "export",
    "git",
    "helm",
    "kubectl",
    "locust",
    "model-analyzer",
    "printf",
    "source",
    "stat",
    "tritonserver",
)
"""Programs of others; what this project gives them is checked where it is cheap."""

APPLICATIONS = {
    "yolov8-triton": "yolov8_triton._cli.app",
    "yolov8-export": "yolov8_export.cli.app",
    "yolov8-server": "yolov8_server._cli",
    "yolov8-loadtest": "yolov8_loadtest.__main__",
}
"""The module of each program's Typer application. A separate process imports it, because Locust patches its process."""

LIST_OPTIONS = """
import importlib, json, sys
import typer
root = typer.main.get_command(importlib.import_module(sys.argv[1]).app)
commands = {"": root, **getattr(root, "commands", {})}
print(json.dumps({name: [option for one in command.params for option in (*one.opts, *one.secondary_opts)]
                  for name, command in commands.items()}))
"""

MAKE_VERBS = {
    "export": ("yolov8-export", "export"),
    "serve": ("yolov8-server",),
    "loadtest": ("yolov8-loadtest", "run"),
    "benchmark": ("yolov8-loadtest", "benchmark"),
    "tune": ("yolov8-loadtest", "tune"),
}
"""The program that receives a verb's ARGS."""

MODULES = {program.replace("-", "_"): program for program in APPLICATIONS}


def faults(words: list[str]) -> list[str]:
    """Return what is wrong with a command, given as its words."""
    program, *arguments = words
    program = program.removeprefix(".venv/bin/").removeprefix("build/gpu/bin/")
    if program.startswith("yolov8-"):
        return typer_faults(program, arguments)
    match program:
        case "make":
            return make_faults(arguments)
        case "python" | "python3":
            return python_faults(arguments)
        case "pip" | "pa/bin/pip":
            return pip_faults(arguments)
        case "docker":
            return docker_faults(arguments)
        case "build_plans.py":
            return python_faults(["docker/build_plans.py", *arguments])
    return [] if program in TOOLS else [f"unknown program {program!r}"]


def typer_faults(program: str, arguments: list[str]) -> list[str]:
    """Return the subcommands and options that a program of this project does not have."""
    if program not in APPLICATIONS:
        return [f"unknown program {program!r}"]
    tree = options(program)
    verb, known = "", {*tree[""], "--help"}
    found = []
    for before, word in pairwise([program, *arguments]):
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            option = word.partition("=")[0]
            if option not in known:
                found.append(f"{program} {verb}".rstrip() + f" has no option {option}")
        elif len(tree) > 1 and not verb:
            if word in tree:
                verb = word
                known |= {*tree[word]}
            elif not before.startswith("-"):  # a word behind an option is the option's value
                return [*found, f"{program} has no command {word!r}"]
    return found


@cache
def options(program: str) -> dict[str, list[str]]:
    """Return the options of each subcommand of a program; those of the program itself are under an empty name."""
    command = [sys.executable, "-c", LIST_OPTIONS, APPLICATIONS[program]]
    listed: dict[str, list[str]] = json.loads(subprocess.check_output(command, text=True, timeout=120))
    return listed


def make_faults(arguments: list[str]) -> list[str]:
    """Return the verbs and variables that the Makefile does not have, and what is wrong with ARGS."""
    makefile = (ROOT / "Makefile").read_text()
    found, verb = [], ""
    for word in arguments:
        name, is_variable, value = word.partition("=")
        if not is_variable:
            verb = word
            if not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE):
                found.append(f"make has no verb {word!r}")
        elif not re.search(rf"^{name} \?=", makefile, re.MULTILINE):
            found.append(f"make has no variable {name}")
        elif name == "ARGS" and verb in MAKE_VERBS:
            program, *path = MAKE_VERBS[verb]
            found += typer_faults(program, [*path, *value.split()])
    return found


def python_faults(arguments: list[str]) -> list[str]:
    """Return what is wrong with a module or a script that python runs."""
    match arguments:
        case ["-m", module, *rest] if module in MODULES:
            return typer_faults(MODULES[module], rest)
        case ["-m", "venv", *_] | ["-c", *_]:
            return []
        case ["-m", module, *_]:
            return [] if importlib.util.find_spec(module) else [f"no module {module}"]
        case [script, *rest] if (ROOT / script).is_file():
            text = (ROOT / script).read_text()
            return [f"{script} has no option {one}" for one in rest if one.startswith("--") and f'"{one}"' not in text]
        case [script, *_]:
            return [f"no file {script}"]
    return ["python runs nothing"]


def pip_faults(arguments: list[str]) -> list[str]:
    """Return what can't be installed: none of our distributions is on PyPI, and an extra must exist."""
    found = []
    for word in arguments:
        if word.startswith("yolov8"):
            found.append(f"{word} is not on PyPI: install it from the checkout")
        if folder := re.fullmatch(r"\./(\w+)(?:\[([\w,]+)\])?", word):
            project = tomllib.loads((ROOT / folder[1] / "pyproject.toml").read_text())["project"]
            extras = set(filter(None, (folder[2] or "").split(",")))
            found += [f"{word}: no extra {one}" for one in extras - set(project.get("optional-dependencies", {}))]
    return found


def docker_faults(arguments: list[str]) -> list[str]:
    """Return the files, targets and profiles that a docker command names and that do not exist."""
    named = dict(pairwise(arguments))
    files = {"build": "docker/Dockerfile", "compose": "docker/compose.yaml"}
    found = []
    if (file := named.get("-f", files.get(arguments[0]))) and arguments[0] in files:
        if not (ROOT / file).is_file():
            return [f"no file {file}"]
        text = (ROOT / file).read_text()
        if (target := named.get("--target")) and not re.search(rf" AS {target}$", text, re.MULTILINE | re.IGNORECASE):
            found.append(f"{file} has no target {target}")
        profiles = set(re.findall(r"\w+", " ".join(re.findall(r"profiles: (.*)", text))))
        if (profile := named.get("--profile")) and profile not in profiles:
            found.append(f"{file} has no profile {profile}")
    return found
