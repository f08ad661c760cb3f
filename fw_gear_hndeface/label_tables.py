"""Data only: what the numbers and names of common segmentation tools are, and what each structure means to us.

Names are facts of the tools: TotalSegmentator 2.18 (Apache-2.0), CADS (Apache-2.0), MOOSE 3 (Apache-2.0), FreeSurfer's
colour table as SynthSeg and SuperSynth use it. Match by name where a file has names; numbers change between versions.
"""

from __future__ import annotations

_RIBS = " ".join(f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13))
_VERTEBRAE = " ".join([*(f"vertebrae_L{n}" for n in range(5, 0, -1)), *(f"vertebrae_T{n}" for n in range(12, 0, -1)),
                       *(f"vertebrae_C{n}" for n in range(7, 0, -1))])  # fmt: skip


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _numbered(*names: str, first: int = 1) -> dict[int, str]:
    return dict(enumerate(names, first))


_TOTAL = (
    "spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left "
    "lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right esophagus "
    "trachea thyroid_gland small_bowel duodenum colon urinary_bladder prostate kidney_cyst_left kidney_cyst_right sacrum "
    f"vertebrae_S1 {_VERTEBRAE} heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right "
    "subclavian_artery_left common_carotid_artery_right common_carotid_artery_left brachiocephalic_vein_left "
    "brachiocephalic_vein_right atrial_appendage_left superior_vena_cava inferior_vena_cava portal_vein_and_splenic_vein "
    "iliac_artery_left iliac_artery_right iliac_vena_left iliac_vena_right humerus_left humerus_right scapula_left "
    "scapula_right clavicula_left clavicula_right femur_left femur_right hip_left hip_right spinal_cord gluteus_maximus_left "
    "gluteus_maximus_right gluteus_medius_left gluteus_medius_right gluteus_minimus_left gluteus_minimus_right autochthon_left "
    f"autochthon_right iliopsoas_left iliopsoas_right brain skull {_RIBS} sternum costal_cartilages"
).split()

_CADS: dict[int, tuple[str, ...]] = {
    551: _words(
        "spleen kidney_right kidney_left gallbladder liver stomach aorta inferior_vena_cava "
        "portal_vein_and_splenic_vein pancreas adrenal_gland_right adrenal_gland_left lung_upper_lobe_left "
        "lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right"
    ),
    552: tuple(_VERTEBRAE.split()),
    553: _words(
        "esophagus trachea heart_myocardium heart_atrium_left heart_ventricle_left heart_atrium_right "
        "heart_ventricle_right pulmonary_artery brain iliac_artery_left iliac_artery_right iliac_vena_left "
        "iliac_vena_right small_bowel duodenum colon urinary_bladder face"
    ),
    554: _words(
        "humerus_left humerus_right scapula_left scapula_right clavicula_left clavicula_right femur_left "
        "femur_right hip_left hip_right sacrum gluteus_maximus_left gluteus_maximus_right gluteus_medius_left "
        "gluteus_medius_right gluteus_minimus_left gluteus_minimus_right autochthon_left autochthon_right "
        "iliopsoas_left iliopsoas_right"
    ),
    555: tuple(_RIBS.split()),
    556: ("spinal_canal", "larynx", "heart", "bowel_bag", "sigmoid", "rectum", "prostate", "seminal_vesicle",
          "left_mammary_gland", "right_mammary_gland", "sternum", "right psoas major", "left psoas major",
          "right rectus abdominis", "left rectus abdominis"),
    557: ("white matter", "gray matter", "csf", "scalp", "eye balls", "compact bone", "spongy bone", "blood", "head muscles"),
    558: _words(
        "OAR_A_Carotid_L OAR_A_Carotid_R OAR_Arytenoid OAR_Bone_Mandible OAR_Brainstem OAR_BuccalMucosa "
        "OAR_Cavity_Oral OAR_Cochlea_L OAR_Cochlea_R OAR_Cricopharyngeus OAR_Esophagus_S OAR_Eye_AL OAR_Eye_AR "
        "OAR_Eye_PL OAR_Eye_PR OAR_Glnd_Lacrimal_L OAR_Glnd_Lacrimal_R OAR_Glnd_Submand_L OAR_Glnd_Submand_R "
        "OAR_Glnd_Thyroid OAR_Glottis OAR_Larynx_SG OAR_Lips OAR_OpticChiasm OAR_OpticNrv_L OAR_OpticNrv_R "
        "OAR_Parotid_L OAR_Parotid_R OAR_Pituitary"
    ),
    559: ("subcutaneous_tissue", "muscle", "abdominal_cavity", "thoracic_cavity", "bones", "glands", "pericardium",
          "breast_implant", "mediastinum", "spinal_cord"),
}  # fmt: skip

_SIDES = {2: "cerebral white matter", 3: "cerebral cortex", 4: "lateral ventricle", 5: "inferior lateral ventricle",
          7: "cerebellum white matter", 8: "cerebellum cortex", 10: "thalamus", 11: "caudate", 12: "putamen", 13: "pallidum",
          17: "hippocampus", 18: "amygdala", 26: "accumbens area", 28: "ventral DC"}  # fmt: skip
_RIGHT = dict(zip(_SIDES, (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60), strict=True))
_MIDDLE = {14: "3rd ventricle", 15: "4th ventricle", 16: "brain-stem", 24: "CSF"}
_SYNTHSEG = {
    **{n: f"left {name}" for n, name in _SIDES.items()},
    **{_RIGHT[n]: f"right {name}" for n, name in _SIDES.items()},
    **_MIDDLE,
}

#: Table -> label number -> name as the tool gives it. Keys are what the setting `label_table` takes.
LABEL_TABLES: dict[str, dict[int, str]] = {
    "totalseg_total": _numbered(*_TOTAL),
    "totalseg_head_glands_cavities": _numbered(
        "eye_left", "eye_right", "eye_lens_left", "eye_lens_right", "optic_nerve_left", "optic_nerve_right",
        "parotid_gland_left", "parotid_gland_right", "submandibular_gland_right", "submandibular_gland_left", "nasopharynx",
        "oropharynx", "hypopharynx", "nasal_cavity_right", "nasal_cavity_left", "auditory_canal_right", "auditory_canal_left",
        "soft_palate", "hard_palate",
    ),
    "totalseg_craniofacial_structures": _numbered(
        "mandible", "teeth_lower", "skull", "head", "sinus_maxillary", "sinus_frontal", "teeth_upper"
    ),
    "totalseg_headneck_bones_vessels": _numbered(
        "larynx_air", "thyroid_cartilage", "hyoid", "cricoid_cartilage", "zygomatic_arch_right", "zygomatic_arch_left",
        "styloid_process_right", "styloid_process_left", "internal_carotid_artery_right", "internal_carotid_artery_left",
        "internal_jugular_vein_right", "internal_jugular_vein_left",
    ),
    "totalseg_head_muscles": _numbered(
        "masseter_right", "masseter_left", "temporalis_right", "temporalis_left", "lateral_pterygoid_right",
        "lateral_pterygoid_left", "medial_pterygoid_right", "medial_pterygoid_left", "tongue", "digastric_right",
        "digastric_left",
    ),
    "totalseg_face": _numbered("face"),
    "totalseg_body": _numbered("body_trunc", "body_extremities"),
    **{f"cads_{part}": _numbered(*names) for part, names in _CADS.items()},
    "cads_all": _numbered(*(name for names in _CADS.values() for name in names)),
    "moose_face": _numbered("face", "ears"),
    "moose_body": _numbered("legs", "body", "head", "arms"),
    "synthseg": _SYNTHSEG,
    "supersynth": {**_SYNTHSEG, 85: "optic chiasm", 165: "skull", 257: "CSF extracerebral", 258: "head extracerebral"},
}  # fmt: skip

#: Folded name -> our word, where it is not the folded name itself. `globes` holds both eyes in one label.
LABEL_MEANINGS: dict[str, str] = {
    **{f"{word} {side}": f"globe {side}" for word in ("eye", "eyeball") for side in ("left", "right")},
    "oar eye pl": "globe left", "oar eye pr": "globe right", "oar eye al": "eye front left", "oar eye ar": "eye front right",
    "posterior eyeball segment l": "globe left", "posterior eyeball segment r": "globe right",
    "left eye": "globe left", "right eye": "globe right", "eye balls": "globes", "eyeballs": "globes", "eye fluid": "globes",
    "eye lens left": "lens left", "eye lens right": "lens right", "lens l": "lens left", "lens r": "lens right",
    "oar opticnrv l": "optic nerve left", "oar opticnrv r": "optic nerve right",
    "oar parotid l": "parotid gland left", "oar parotid r": "parotid gland right",
    "oar glnd submand l": "submandibular gland left", "oar glnd submand r": "submandibular gland right",
    "oar bone mandible": "mandible", "bone mandible": "mandible", "lower jawbone": "mandible",
    "oar cavity oral": "oral cavity", "oar lips": "lips", "both lips": "lips", "ear": "ears",
    "nasal cavity left": "nasal cavity", "nasal cavity right": "nasal cavity",
    "white matter": "brain", "gray matter": "brain", "csf": "brain", "oar brainstem": "brain", "brain stem": "brain",
    **{f"{side} {name.lower()}": "brain" for name in _SIDES.values() for side in ("left", "right")},
    "3rd ventricle": "brain", "4th ventricle": "brain",
}  # fmt: skip

#: Our word -> value of `model.RoiKind` where that is not `organ`. The skin of the face, its lips and the air in its nose are
#: what defacing is about: a network's labels of them keep nothing.
LABEL_KINDS: dict[str, str] = {
    **dict.fromkeys(("globe left", "globe right", "globes", "eye front left", "eye front right"), "landmark"),
    **dict.fromkeys(("lens left", "lens right"), "landmark"),
    **dict.fromkeys(("head", "body", "body trunc", "body extremities", "arms", "legs"), "external"),
    **dict.fromkeys(("scalp", "subcutaneous tissue", "head extracerebral", "whole body", "skin"), "external"),
    **dict.fromkeys(("face", "ears", "lips", "nasal cavity"), "other"),
    **dict.fromkeys(("muscle", "head muscles", "blood", "bowel bag"), "other"),
    **dict.fromkeys(("abdominal cavity", "thoracic cavity", "mediastinum"), "other"),
}

#: Words for what is solid wherever the label map is right: where these lie in air, the map belongs elsewhere.
SOLID: tuple[str, ...] = (
    "globe left", "globe right", "globes", "mandible", "skull", "brain", "hyoid", "tongue", "spinal cord",
    "parotid gland left", "parotid gland right", "submandibular gland left", "submandibular gland right",
    "masseter left", "masseter right", "optic nerve left", "optic nerve right",
)  # fmt: skip

#: TotalSegmentator's tasks that need no licence and show the head, and those that need one (named to say so).
TOTALSEG_TASKS: tuple[str, ...] = (
    "head_glands_cavities", "craniofacial_structures", "headneck_bones_vessels", "head_muscles", "total",
)  # fmt: skip
TOTALSEG_LICENSED: tuple[str, ...] = ("face", "brain_structures", "tissue_types", "heartchambers_highres", "vertebrae_body")
