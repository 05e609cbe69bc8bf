"""Names of identifiers are told from names of findings."""

import pytest

from medassets.testing.ct_rate_tables import LABEL_NAMES
from medassets.volumes.catalog.label_column_names import is_identifier_name, is_index_name

INDICES = """Unnamed: 0|Unnamed: 0.1|index|Index|index.1|level_0|__index_level_0__|idx|IDX|row|No.|Nr|
number|num|rownames""".replace("\n", "")
IDENTIFIERS = """patientid|PatientID|patient_id|patient_id_2|PatientID2|PATIENTID|studyid|personid|caseid|
studyinstanceuid|seriesuid|sampleid|PID|SID|ID|uid|rownum|row_num|row_id|CaseNo|PatientNumber|AccessionNo|
AccessionNumber|SiteNumber|hospital_code|scan_no|subject id|SubjectIdx|image_uid|SOPInstanceUID|
series_index|case number|study.nr|Patient name|file_name|filepath|kfold|fold_5|Fold|cv_fold|CV|split_1|
data_split|is_train|isTest|train|subset|batch|batch_2|BatchNo|age|age_years|AgeInYears|PatientAge|
patient_sex|sample_weight|weight_kg|ClassWeight|StudyDate|acquisition_time|site|Hospital|random_seed|MRN|
medical_record_number""".replace("\n", "")
FINDINGS = """No finding|No Findings|Number of nodules|Fluid|Pleural fluid|Covid|COVID-19|Thyroid|Hyaloid|
Carotid|Mass|Mass: left|Nodule 1|Nodule_2|Fracture|Skin fold|Split pleura sign|Index lesion|
Age-related change|Weight loss|Support Devices|Line|Device|Sternotomy wires|Cardiac silhouette|Hernia|
Scan artefact|Image quality|Batwing opacities|Sarcoid|Mucoid impaction|Avoid|Steroid use|Cyst no contrast|
Group of nodules|Trapped lung|Pneumonia|A|B|C|label_0|class 1|Enlarged cardiomediastinum|T1|N2|Paget|
Site of fracture|Edema|Hospital acquired pneumonia|Patient motion|Case of tuberculosis|Study limited|
Invalid|Valid""".replace("\n", "")


@pytest.mark.parametrize("name", INDICES.split("|"))
def test_a_name_of_an_index_is_told(name: str) -> None:
    assert is_index_name(name)


@pytest.mark.parametrize("name", IDENTIFIERS.split("|"))
def test_a_name_of_an_identifier_is_told(name: str) -> None:
    for written in (name, name.replace("_", " "), f"{name}.1"):
        assert is_identifier_name(written) or is_index_name(written), written


@pytest.mark.parametrize("name", [*LABEL_NAMES, *FINDINGS.split("|")])
def test_a_name_of_a_finding_is_a_label(name: str) -> None:
    for written in (name, name.lower(), name.upper()):
        assert not is_identifier_name(written)
        assert not is_index_name(written)
