import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.runs import refs

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
RUN = refs.SubjectRef(kind="run", id="run_1")
PACKET = "interlock://v1/packet/run_1"


def test_a_reference_is_derived_from_kind_and_id() -> None:
    assert (
        refs.SubjectRef(kind="capability", id="github.issue.create").ref
        == "interlock://v1/capability/github.issue.create"
    )
    assert refs.derive("target", "a/b c?") == "interlock://v1/target/a%2Fb%20c%3F"


def test_an_explicit_reference_must_be_the_derived_one() -> None:
    assert refs.SubjectRef(kind="run", id="run_1", ref="interlock://v1/run/run_1") == RUN
    with pytest.raises(ValidationError, match="must be 'interlock://v1/run/run_1'"):
        refs.SubjectRef(kind="run", id="run_1", ref="interlock://v1/run/run_2")


@given(id_=IDS)
def test_parsing_is_the_inverse_of_deriving(id_: str) -> None:
    assert refs.parse(refs.derive("artifact", id_)) == ("artifact", id_)


@pytest.mark.parametrize(
    "text",
    ["", "run_1", "interlock://v2/run/run_1", "interlock://v1/run/", "interlock://v1/run", "interlock://v1/run/a/b", "interlock://v1/run/%61",
     "interlock://v1//x", "interlock://v1/run/" + "x" * 500],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(refs.InvalidRef):
        refs.parse(text)


@given(id_=IDS)
def test_references_survive_json(id_: str) -> None:
    subject = refs.SubjectRef(kind="artifact", id=id_)
    evidence = refs.EvidenceRef(kind="event", id=id_, packet_ref=PACKET, subject=RUN)
    assert refs.SubjectRef.model_validate_json(subject.model_dump_json()) == subject
    assert refs.EvidenceRef.model_validate_json(evidence.model_dump_json()) == evidence


def test_unknown_kinds_and_members_are_refused() -> None:
    with pytest.raises(ValidationError):
        refs.SubjectRef.model_validate({"kind": "planet", "id": "x"})
    with pytest.raises(ValidationError):
        refs.SubjectRef.model_validate({"kind": "run", "id": "x", "colour": "red"})
    with pytest.raises(ValidationError):
        refs.GovernanceRef.model_validate({"kind": "rumour", "id": "x", "subject": RUN})


def test_a_projection_speaks_of_one_packet() -> None:
    stray = refs.EvidenceRef(kind="event", id="evt_1", packet_ref="interlock://v1/packet/run_2", subject=RUN)
    with pytest.raises(ValidationError, match="all evidence must lie in"):
        refs.ReviewProjection(packet_ref=PACKET, subject=RUN, selected_attempt=None, evidence=(stray,), governance=())
    with pytest.raises(ValidationError, match="is not that of"):
        refs.ReviewProjection(
            packet_ref="interlock://v1/packet/run_2", subject=RUN, selected_attempt=None, evidence=(), governance=()
        )
