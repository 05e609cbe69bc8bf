"""Names of columns that number or identify rows in any spelling, and so are not labels."""

import re

_INDEX = re.compile(
    r"(?:unnamed|index|indexlevel|level|idx|ix|rows?|nr|no|num|number|rownames?|recordnumber)?"
)
_OF = (
    "patient|pat|pt|subject|subj|person|participant|client|user|study|series|scan|volume|vol|image|img|"
    "case|sample|accession|acc|exam|examination|visit|session|encounter|file|row|record|rec|medical|line|"
    "item|entry|slice|frame|instance|site|center|centre|hospital|institution|institute|clinic|"
    "department|scanner|station|device|batch|fold|split|group|cohort|dataset|data|reader|rater|"
    "annotator|report|sop|orig|original|new|anon|anonymized|unique|the"
)
_IS = (
    "ids?|uids?|uuids?|guids?|identifier|index|idx|ix|nos?|nr|num|number|code|key|name|names|hash|"
    "path|uri|url|instanceuid|instanceid|ref"
)
_IDENTIFIER = re.compile(
    rf"(?:{_OF}){{1,3}}(?:{_IS}){{1,2}}"
    r"|(?:p|s|e|pt|r|g|f|subj|c|u|gu|uu)?ids?|uids?|mrn|name|hash|md5|sha|path|key|uri|url"
    r"|patient|subject|study|series|scan|volume|image|case|sample|accession|file|reconstruction|instance"
    r"|(?:cv|k|inner|outer|data|train|test|val)*(?:folds?|splits?|set|subset|partition|cv)"
    r"|(?:is|in)(?:train|training|test|testing|val|validation|holdout)(?:set|split)?|isvalid"
    r"|(?:is)?(?:train|training|test|testing|validation|holdout)"
    r"|(?:mini)?batch(?:es)?|group|cluster|cohort|site|center|centre|hospital|institution|scanner"
    r"|manufacturer|reader|annotator|source|version|report|(?:random|rng)?seed"
    r"|(?:study|scan|series|acquisition|exam|content|birth|report)?(?:date|time|datetime|timestamp|year)"
    r"|(?:patient|subject)?s?(?:sex|gender)(?:code)?"
    r"|(?:patient|subject)?s?age(?:in)?(?:years?|yrs?|y|months?|days?|group|bin|atscan|atstudy|atexam)*"
    r"|(?:sample|class|loss|case|instance|row|patient|body)?weights?(?:in)?(?:kg)?"
)
# Marked by a separator or by its capitals; findings such as `fluid` end in the same letters.
_MARKED = re.compile(
    r"(?:^|[^A-Za-z])(?i:id|uid|uuid|guid)s?(?:$|[^A-Za-z])|[a-z](?:ID|UID|Id|Uid)s?[\W_\d]*$"
)


def is_index_name(name: str) -> bool:
    """Tell whether a column numbers the rows by its name, such as `Unnamed: 0` or `index.1`."""
    return _INDEX.fullmatch(_normalise(name)) is not None


def is_identifier_name(name: str) -> bool:
    """Tell whether a column identifies or groups samples by its name, such as `PatientID` or `fold`.

    Case, separators and digits at the end do not matter. The whole name has to be such a name:
    `No finding` and `Number of nodules` are labels.
    """
    return _IDENTIFIER.fullmatch(_normalise(name)) is not None or _MARKED.search(name) is not None


def _normalise(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower()).rstrip("0123456789")
