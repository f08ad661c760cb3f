"""Replaces the face that a user's nnU-Net v2 model finds (paediatric CT, MOOSE, CTA-DEFACE); the model runs in `networks`."""

from __future__ import annotations

from fw_gear_hndeface.methods.contract import GIVEN, Bounds, Method, Scene
from fw_gear_hndeface.methods.face_label import propose_label
from fw_gear_hndeface.model import Proposal
from fw_gear_hndeface.networks.nnunet import NAME, missing


def propose(scene: Scene) -> Proposal:
    """Air, tissue or a number in the face that the model found.

    Raises
    ------
    LandmarkError
        The model found no face where the face is.
    """
    return propose_label(scene, [labels for labels in scene.labels if labels.source == NAME], METHOD.name)


METHOD = Method(
    name=NAME,
    reference="nnU-Net v2 (Isensee et al. 2021) with the model in nnunet_model: CTA-DEFACE, MOOSE clin_ct_face and others",
    removes="the voxels that the model labels face or ears",
    leaks="as segmented_face: a tight label keeps the outline; what the model misses stays, above all on unusual heads",
    licence="nnU-Net Apache-2.0; each model's weights have their own terms, MOOSE's CC BY 4.0",
    propose=propose,
    bounds=Bounds(most_removed_ml=1500.0),
    rules=GIVEN,
    missing=missing,
    needs="the folder of a trained model in the setting nnunet_model",
)
