"""nnU-Net v2 model folders whose network tells classes by intensity alone, so that every label is known beforehand.

The network is nnU-Net's own U-Net with 1x1x1 kernels and weights set by hand: the logit of class c at intensity x is
m_c * x - m_c^2 / 2, so each voxel gets the class whose centre m_c is nearest. Nothing is trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Intensities are HU / 1000 inside the network.
SCALE_HU = 1000.0
#: Logit of classes that never win.
NEVER = -100.0
TRAINER = "nnUNetTrainer"

_ARCHITECTURE: dict[str, Any] = {
    "n_stages": 2,
    "features_per_stage": [1, 1],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
    "strides": [[1, 1, 1], [2, 2, 2]],
    "n_conv_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
    "conv_bias": True,
    "norm_op": None,
    "norm_op_kwargs": None,
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": None,
    "nonlin_kwargs": None,
}


def write_model(
    folder: Path,
    labels: Mapping[str, int],
    centres_hu: Mapping[int, float],
    *,
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0),
    configuration: str = "3d_fullres",
    trainer: str = TRAINER,
    file_ending: str = ".nii.gz",
) -> Path:
    """A model folder as nnU-Net leaves it after training.

    Parameters
    ----------
    folder : such as .../nnUNetTrainer__nnUNetPlans__3d_fullres
    labels : name -> number, background included
    centres_hu : number -> HU that it stands for; other numbers never win
    """
    import torch

    (folder / "fold_0").mkdir(parents=True)
    dataset = {"channel_names": {"0": "CT"}, "labels": dict(labels), "numTraining": 1, "file_ending": file_ending}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "plans.json").write_text(json.dumps(_plans(spacing_mm, configuration, file_ending)))
    checkpoint = {
        "trainer_name": trainer,
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": None,
        "network_weights": _weights(len(labels), centres_hu),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def _weights(classes: int, centres_hu: Mapping[int, float]) -> Any:
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    architecture = {**_ARCHITECTURE, "conv_op": torch.nn.Conv3d}
    network = PlainConvUNet(input_channels=1, num_classes=classes, **architecture)
    state = network.state_dict()
    for name, value in state.items():
        value.zero_()
        if name.startswith("encoder.stages.0") and value.ndim == 5:
            value[:] = 1.0
        if name.startswith("decoder.stages.0") and value.ndim == 5:
            value[0, 1] = 1.0  # of the two channels that come in, the second is the skip
        if name.startswith("decoder.encoder.stages.0") and value.ndim == 5:
            value[:] = 1.0
        if name.startswith("decoder.seg_layers.0"):
            for number in range(classes):
                centre = centres_hu[number] / SCALE_HU if number in centres_hu else None
                if value.ndim == 5:
                    value[number] = 0.0 if centre is None else centre
                else:
                    value[number] = NEVER if centre is None else -centre * centre / 2.0
    return state


def _plans(spacing_mm: tuple[float, float, float], configuration: str, file_ending: str) -> dict[str, Any]:
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    one = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [32, 32, 32],
        "median_image_size_in_voxels": [64.0, 64.0, 64.0],
        "spacing": list(spacing_mm),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": _ARCHITECTURE,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    values = {"mean": 0.0, "std": SCALE_HU, "percentile_00_5": -1000.0, "percentile_99_5": 3000.0}
    values |= {"min": -1024.0, "max": 3071.0, "median": 0.0}
    nifti = file_ending.startswith(".nii")
    return {
        "dataset_name": "Dataset999_tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing_mm),
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": "NibabelIOWithReorient" if nifti else "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {configuration: one},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": values},
    }
