"""Errors as exit codes, sentences and documents."""

import json

import pytest

import errors
from interlock import kernel, memory, runs, sdk
from interlock.cli import complaint, tree
from interlock.cli.errors import Interrupted, Usage


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (kernel.RequestError("x"), 2),
        (kernel.NotFoundError("x"), 2),
        (kernel.ConflictError("x"), 2),
        (kernel.ConfigurationError("x"), 2),
        (kernel.ConnectionError_("x"), 2),
        (kernel.ProviderError("x"), 1),
        (kernel.PlaneError("x"), 1),
        (kernel.InternalError("x"), 1),
        (kernel.UnknownOutcome("x"), 5),
        (kernel.VerificationError("x"), 6),
        (kernel.StoreError("x"), 7),
        (runs.OverBudget("x"), 3),
        (runs.RunFailed({"code": "unknown_outcome"}, run_id="run_1"), 5),
        (runs.RunFailed({"code": "rate_limited"}, run_id="run_1"), 1),
        (runs.RunFailed({"code": "connection_revoked"}, run_id="run_1"), 2),
        (runs.RunFailed({"code": "of_a_later_version"}, run_id="run_1"), 1),
        (Interrupted("x"), 130),
    ],
)
def test_exit_codes(error: kernel.InterlockError, code: int):
    assert complaint.exit_code(error) == code


EXIT_CODES = {
    1: """
        action_held agent_operation_failed agent_turn_failed attempt_lost attempt_over auth_failed
        deadline_passed demo_claim_failed effect_failed event_rejected evidence_owed execution_rejected
        handler_failed handler_output_invalid handler_raised handler_timed_out host_not_leased
        illegal_transition import_incomplete input_closed install_failed interlock_error internal_error
        invalid_for_provider invalid_output issuer_keys_unavailable lease_expired lease_not_found lease_revoked
        memory_broken_capability memory_deadline_exceeded memory_fault memory_provider_failed
        model_answer_unreadable model_busy model_request_refused model_unavailable node_busy node_closing
        node_refused not_happened not_renewed operation_failed output_lost ownership_lapsed plane_error poison
        poll_failed probe_failed provider_error provider_forbidden provider_unavailable rate_limited
        refused_by_policy remote_error resource_conflict resource_not_found row_refused run_cancelled run_failed
        stale_run unexpected unexpected_answer worker_stopped
    """,
    2: """
        agent_changed agent_not_found agent_operation_changed agent_turn_not_resumable already_decided already_initialised
        already_made already_spent ambiguous_connection ambiguous_route approval_denied approval_expired
        approval_not_found archive_busy artifact_not_found binding_mismatch callback_refused cannot_isolate
        cannot_serve client_secret_missing closed conflict connection_changed connection_error
        connection_expired connection_name_taken connection_not_found connection_revoked
        connection_service_mismatch connection_subject_mismatch connector_broken credentials_exist
        credentials_unusable cursor_expired delivery_not_found delivery_not_replayable demo_folder_taken
        demo_service_not_started driver_missing duplicate_connector errand_failed evidence_refused
        execution_conflict execution_not_found file_refused file_unreadable forbidden foreign_snapshot
        foreign_spec forked grant_refused happened_already idempotency_conflict input_holds_secret install_ended
        install_not_found install_unsupported install_used invalid_agent_context invalid_agent_spec
        invalid_allowance invalid_argument invalid_budget invalid_configuration invalid_connection_transition
        invalid_document invalid_edit invalid_grant invalid_handlers invalid_input invalid_json invalid_manifest
        invalid_operation_options invalid_packet invalid_path_value invalid_policy invalid_poll invalid_provider
        invalid_ref invalid_request invalid_route invalid_scenario invalid_schedule invalid_session
        invalid_settings invalid_snapshot invalid_store_url invalid_subscription invalid_token invalid_trust
        key_exposed key_invalid key_missing key_present kms_missing manifest_changed memory_conflict
        memory_invalid_config memory_invalid_input memory_record_not_found memory_scope_denied
        memory_unknown_provider memory_unsupported message_not_found missing_scopes model_forbidden
        model_library_missing model_unpriced module_not_loaded no_connection no_credentials no_dead_letter
        no_such_attempt no_such_tools not_approved not_cancellable not_found not_remote oauth_client_missing
        poll_changed poll_exists poll_not_found provider_changed provider_in_use reauth_required
        request_too_large request_too_slow role_missing root_refused route_changed route_not_found rule_astray
        run_archived run_not_found run_not_held run_not_waiting sandbox_not_enforced schedule_changed
        schedule_exists schedule_not_found secret_exposed secret_unavailable self_review server_token_missing
        session_busy session_full session_not_found session_went_on snapshot_of_another snapshot_too_new stale_execution
        store_not_kept subject_broken subscription_changed subscription_not_found target_refused
        telemetry_missing telemetry_not_started token_missing token_not_found token_refused too_many_requests
        trigger_not_found unauthenticated unconfirmed_issuer unexpected_event unknown_capability
        unknown_connector unknown_model unknown_place unknown_provider unknown_sandbox unknown_subject
        unknown_target unreadable_webhook_key usage wrong_connector wrong_host wrong_key wrong_origin
    """,
    3: """
        over_budget
    """,
    5: """
        answer_lost given_up operation_unclear outcome_unsaved unknown_outcome
    """,
    6: """
        snapshot_tampered unproven_receipt unreadable_turn_journal verification_failed
    """,
    7: """
        archive_damaged archive_unavailable artifact_damaged blob_missing blob_unavailable credential_damaged
        foreign_file journal_busy journal_damaged journal_unavailable key_damaged key_not_found ledger_damaged
        memory_unavailable migrations_pending not_interlock root_unavailable schema_too_new server_unreachable
        store_busy store_closed store_damaged store_error store_full store_missing store_read_only
        store_unavailable
    """,
    130: """
        interrupted
    """,
}
"""Every error by the exit code that it means: scripts go by these, so a code never moves unnoticed."""


def test_every_error_has_the_exit_code_of_the_table():
    found: dict[int, set[str]] = {}
    for error in errors.errors():
        found.setdefault(complaint.exit_code_of(error), set()).add(error.code)
    assert found == {code: set(listed.split()) for code, listed in EXIT_CODES.items()}


def test_the_page_and_the_help_name_every_exit_code():
    page, told = errors.PAGE.read_text(), tree.EPILOG
    for code in range(8):
        assert f"\n| {code} | " in page
        assert f"\n  {code}  " in told
    assert f"\n  {complaint.INTERRUPTED}  " in told
    assert {*EXIT_CODES} <= {*range(8), complaint.INTERRUPTED}
    assert f"| 129, {complaint.INTERRUPTED}, 143 |" in page
    assert f"| {complaint.PIPE_CLOSED} |" in page


def test_people_are_told_what_with_what_and_what_next(capsys: pytest.CaptureFixture[str]):
    error = Usage("it is\nwrong \x1b[31m", run_id="run_1", next_step="Do it right.", details={"a": 1})
    complaint.complain(error, as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it is\n  wrong \\x1b[31m\nrun: run_1\nnext: Do it right.\n"
    complaint.complain(error, as_json=False, verbose=True)
    assert 'code: usage\nretry: after_change\nfault: caller\ndetails: {"a": 1}\n' in capsys.readouterr().err


def test_what_a_provider_of_others_raised_is_told_to_whoever_asks(capsys: pytest.CaptureFixture[str]):
    failed = memory.ProviderFailed("odd failed at get with KeyError", provider="odd", operation="get")
    failed.__cause__ = KeyError("the text of it")
    complaint.complain(failed, as_json=False)
    assert "the text of it" not in capsys.readouterr().err
    complaint.complain(failed, as_json=False, verbose=True)
    assert "cause: KeyError: 'the text of it'" in capsys.readouterr().err


def test_people_are_told_how_long_to_wait(capsys: pytest.CaptureFixture[str]):
    complaint.complain(sdk.RateLimited("the limit is used up", retry_after=41.2), as_json=False)
    assert capsys.readouterr().err.splitlines()[1] == "wait: 42 s"


def test_programs_get_the_same_on_stdout(capsys: pytest.CaptureFixture[str]):
    error = Usage("wrong \x1b[31m")
    complaint.complain(error, as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": error.to_json()}
    assert "\x1b" not in captured.out
    assert captured.err == ""


def test_a_traceback_is_for_those_who_debug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTERLOCK_DEBUG", "1")
    complaint.complain(Usage("wrong"), as_json=True)
    assert "Usage: wrong" in capsys.readouterr().err
