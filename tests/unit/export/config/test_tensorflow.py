# SPDX-License-Identifier: Apache-2.0
"""What TensorFlow makes of the configurations and the command line; none of it needs TensorFlow itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.export.conftest import Export
from yolov8_export import engines
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.members import ServedModelSpec
from yolov8_export.config.recover import spec_from_configs
from yolov8_export.config.served import as_served
from yolov8_export.errors import OptionError, WeightsError
from yolov8_export.source.weights import find_weights

CPU = Deployment(engine="tensorflow", threads=2)
GPU = Deployment(engine="tensorflow", device="gpu")


def spec(export_tiny: Export, deployment: Deployment) -> ServedModelSpec:
    """Return the tiny network's specification, with TensorFlow in the place of ONNX Runtime."""
    network = export_tiny(deployment=Deployment(network_output="raw")).network
    model = as_served(network.model, deployment)
    deployment = replace(deployment, queue_timeout_s=1.0)
    return ServedModelSpec(name="tiny", model=model, head=network.head, stride=network.stride, deployment=deployment)


@pytest.mark.slow
def test_the_network_takes_channels_last(export_tiny: Export) -> None:
    configs = spec(export_tiny, CPU).configs()

    network, preprocess = configs["tiny_network"], configs["tiny_preprocess"]
    assert (network.backend, network.default_model_filename) == ("tensorflow", "model.savedmodel")
    assert network.input[0].dims[2] == 3
    assert preprocess.output[0].dims == network.input[0].dims
    assert network.parameters["INTRA_OP_THREAD_COUNT"].string_value == "2"
    assert spec(export_tiny, replace(CPU, network_input="uint8")).model.network_input == "uint8"


@pytest.mark.slow
@pytest.mark.parametrize("deployment", [CPU, GPU, replace(GPU, tf32=True)], ids=["cpu", "gpu", "tf32"])
def test_the_settings_are_recovered(export_tiny: Export, deployment: Deployment) -> None:
    written = spec(export_tiny, replace(deployment, network_input="fp32", network_output="raw"))

    assert spec_from_configs(Path(), "tiny", written.configs()) == written


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precisions_are_refused(precision: str) -> None:
    with pytest.raises(OptionError, match=f"--precision {precision} is not possible with --network tensorflow"):
        replace(CPU, precision=precision)


def test_without_tensorflow_the_export_says_what_to_install(
    export_tiny: Export, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tensorflow" else object())

    with pytest.raises(OptionError, match=r"pip install 'yolov8-triton-export\[tensorflow\]'"):
        export_tiny(deployment=CPU)
    assert not repository.exists()


def test_a_saved_model_is_for_tensorflow_alone(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()

    assert find_weights(str(tmp_path), folder=None, download=None) == tmp_path
    with pytest.raises(OptionError, match="only TensorFlow runs a SavedModel: add --network tensorflow"):
        engines.check_engine(tmp_path, Deployment())


def test_another_folder_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"is a folder without saved_model\.pb"):
        find_weights(str(tmp_path), folder=None, download=None)
