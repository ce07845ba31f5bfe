"""What a client of a remote embedding service owes it and its users, and the tests that show it.

MUST: without it vectors are wrong, money is lost or secrets show. SHOULD: what makes it cheap, fast and bearable.
`python tools/contract.py service` prints the table and fails if a test is not there any more. Where a test takes a
`face`, it runs over the blocking and the awaitable methods.
"""

from __future__ import annotations

from tests.contract import Entry

SUBJECT = "#"
SUBJECTS = tuple(str(number) for number in range(1, 41))
LEVELS = ("MUST", "SHOULD")

API = "tests/backends/remote/test_api.py::"
CONCURRENCY = "tests/backends/remote/test_concurrency.py::"
CREW = "tests/concurrency/test_threads.py::"
DIALECTS = "tests/backends/remote/test_dialects.py::"
ENCODER = "tests/backends/remote/test_encoder.py::"
FAULTS = "tests/backends/remote/test_faults.py::"
FLOW = "tests/backends/remote/test_flow.py::"
LIMITS = "tests/backends/remote/test_limits.py::"
NETWORK = "tests/backends/remote/test_network.py::"
PARITY = "tests/test_parity.py::"
REFUSALS = "tests/backends/remote/test_error_mapping.py::"
SAGEMAKER = "tests/backends/remote/test_sagemaker.py::"
SECRETS = "tests/backends/remote/test_secrets.py::"
SETTINGS = "tests/backends/remote/test_settings.py::"
WAITS = "tests/backends/remote/test_retry.py::"
WIRE = "tests/backends/remote/test_responses.py::"


def must(number: int, says: str, *covered: str) -> Entry:
    return Entry(str(number), "MUST", says, covered)


def should(number: int, says: str, *covered: str) -> Entry:
    return Entry(str(number), "SHOULD", says, covered)


REQUESTS = (
    must(
        1,
        "Every item says what it is, in the server's own form; a plain string that could be taken for an image never "
        "goes out as one.",
        f"{API}test_the_request_of_a_text",
        f"{API}test_text_is_always_text",
        f"{DIALECTS}test_the_body_of_a_query",
        f"{DIALECTS}test_the_forms_of_an_image",
        f"{DIALECTS}test_a_server_that_guesses_is_not_let",
    ),
    must(
        2,
        "Images travel to the hosted service as bare base64, whatever form they came in, and with a prefix only "
        "where a dialect wants one.",
        f"{ENCODER}test_a_data_uri_travels_as_bare_base64",
        f"{API}test_as_it_is",
        f"{DIALECTS}test_the_forms_of_an_image",
    ),
    must(
        3,
        "A request has only the fields that its model declares: v1 neither task nor width, v2 one task, one name for "
        "the encoding, no nulls, no list of encodings.",
        f"{API}test_v1_gets_no_field_that_it_does_not_declare",
        f"{API}test_every_option_shows_in_every_request",
        f"{DIALECTS}test_without_options_nothing_is_said_about_them",
        f"{SETTINGS}test_impossible_settings",
        f"{SETTINGS}test_impossible_requests_are_not_sent",
    ),
    must(
        4,
        "What cannot work is refused here before anything is sent: model, width, task, empty item, unreadable or too "
        "large image, missing key. An empty text can work and is sent.",
        f"{SETTINGS}test_models_that_the_service_does_not_have",
        f"{SETTINGS}test_a_checkpoint_folder",
        f"{SETTINGS}test_impossible_requests_are_not_sent",
        f"{ENCODER}test_items_that_cannot_work_are_refused_here",
        f"{API}test_empty_bytes_are_refused_here",
        f"{API}test_too_large_an_image_is_refused_here",
        f"{FAULTS}test_an_unpaired_surrogate_is_refused_here",
        f"{SECRETS}test_a_missing_key_is_an_error_that_names_the_variables",
        f"{API}test_text_is_always_text",
    ),
)

ANSWERS = (
    must(
        5,
        "Rows go where their index says, and every index must come exactly once.",
        f"{WIRE}test_rows_are_placed_by_index_even_as_floats",
        f"{WIRE}test_refused",
        f"{FAULTS}test_one_fault_never_costs_a_row",
        f"{FAULTS}test_a_fault_that_stays_is_an_error",
    ),
    must(
        6,
        "Every vector has the right width, finite numbers and not only zeros, or the error names its item.",
        f"{WIRE}test_refused",
        f"{WIRE}test_widths",
        f"{FLOW}test_a_bad_row_names_its_item",
        f"{FAULTS}test_a_fault_that_stays_is_an_error",
    ),
    must(
        7,
        "Floats are read where base64 was asked for and the other way round; base64 is little-endian float32, and a "
        "number of bytes that does not fit is refused.",
        f"{WIRE}test_floats_are_read_whatever_encoding_was_asked_for",
        f"{WIRE}test_refused",
        f"{API}test_ways_of_travelling_give_the_same_rows",
        f"{FAULTS}test_one_fault_never_costs_a_row",
    ),
    must(
        8,
        "`binary` is offset binary, and packed bits may come as integers or as floats.",
        f"{WIRE}test_binary_is_offset_and_no_twos_complement",
        f"{WIRE}test_packed_bits_are_the_same_for_either_name",
        f"{WIRE}test_bits_that_are_none",
        f"{API}test_packed_bits",
    ),
    must(
        9,
        "Vectors are of unit length whatever the server did, after a cut too; those that are stay bit-identical.",
        f"{DIALECTS}test_every_server_gives_the_same_vectors",
        f"{FLOW}test_unit_length_and_cut_are_made_here_if_the_server_did_not",
        f"{FLOW}test_unit_vectors_stay_bit_identical",
        f"{SAGEMAKER}test_the_documented_request_and_answer",
    ),
)

REFUSED = (
    must(
        10,
        "Every shape of an error body gives status, code, request id and a short excerpt, and none makes the reader "
        "itself fail.",
        f"{REFUSALS}test_code_and_status",
        f"{REFUSALS}test_messages",
        f"{REFUSALS}test_request_id_from_the_header",
        f"{REFUSALS}test_nothing_that_was_sent_is_repeated",
        f"{REFUSALS}test_no_body_raises",
        f"{REFUSALS}test_no_bytes_raise",
    ),
    must(
        11,
        "The class of an error follows from the service's code first and the status second.",
        f"{REFUSALS}test_code_and_status",
        f"{REFUSALS}test_balance_without_a_code",
        f"{FLOW}test_an_error_in_a_200_counts_by_its_code",
        f"{FLOW}test_the_hosted_bodies_are_understood",
    ),
    must(
        12,
        "What a repetition cannot cure is not repeated, except in smaller requests where the service says how many "
        "items it takes.",
        f"{FLOW}test_what_does_not_pass_is_not_tried_again",
        f"{FLOW}test_at_most_n_items_is_learnt",
        f"{FAULTS}test_at_most_n_items_is_learnt_for_the_rest_of_the_job",
        f"{FAULTS}test_a_wrong_key_is_not_tried_twice",
    ),
    must(
        13,
        "What passes by itself is tried again, with growing waits and jitter, so often and so long as is allowed.",
        f"{FLOW}test_what_passes_is_tried_again",
        f"{FLOW}test_attempts_are_bounded",
        f"{FLOW}test_total_time_is_bounded",
        f"{WAITS}test_waits_double_up_to_a_ceiling",
        f"{WAITS}test_jitter_only_lengthens",
        f"{FAULTS}test_any_faults_that_finally_clear_give_exactly_the_right_rows",
        f"{FAULTS}test_any_faults_on_real_connections_that_finally_clear_give_exactly_the_right_rows",
    ),
    must(
        14,
        "The wait that a server asks for is kept, in seconds, in milliseconds or as a date, up to a ceiling; nonsense "
        "is ignored.",
        f"{WAITS}test_retry_after",
        f"{WAITS}test_the_server_is_obeyed_and_never_hurried",
        f"{FLOW}test_the_servers_wait_is_honoured",
        f"{FLOW}test_a_huge_wait_fails_at_once",
        f"{NETWORK}test_headers_that_lie",
    ),
    must(
        15,
        "A key or an account that cannot go on ends the whole job at once: what is finished is kept, what is missing "
        "shows as missing, waiting requests end.",
        f"{ENCODER}test_an_account_that_cannot_go_on_ends_the_whole_job",
        f"{ENCODER}test_a_cache_carries_on_where_the_account_ended",
        f"{FAULTS}test_the_first_refusal_of_the_account_ends_the_job",
        f"{FAULTS}test_embed_keeps_what_was_finished",
        f"{CONCURRENCY}test_waiting_requests_end_with_the_job",
    ),
)

TIMES_AND_SIZES = (
    must(
        16,
        "Every phase and the whole of an attempt have a finite time, which by default leaves room for a cold start.",
        f"{SETTINGS}test_times_are_finite_and_allow_a_cold_start",
        f"{FAULTS}test_timeout_covers_the_whole_attempt",
        f"{FAULTS}test_an_httpx_timeout_is_accepted",
    ),
    must(
        17,
        "Requests are cut by items, by bytes and by estimated tokens, each of which can be set.",
        f"{API}test_many_batches_keep_their_order",
        f"{API}test_requests_are_cut_by_bytes",
        f"{API}test_requests_are_cut_by_tokens",
        f"{SAGEMAKER}test_calls_are_cut_below_the_body_limit",
    ),
    must(
        18,
        "Requests in flight begin with two and adapt up to a ceiling, which all threads and tasks of a client share.",
        f"{LIMITS}test_the_gate_starts_with_two_and_doubles_up_to_its_ceiling",
        f"{LIMITS}test_one_burst_of_refusals_shrinks_once",
        f"{CONCURRENCY}test_concurrency_starts_low_and_stays_below_its_ceiling",
        f"{CONCURRENCY}test_the_services_own_limit_is_found_and_kept",
        f"{CONCURRENCY}test_threads_and_tasks_share_one_limit",
        f"{CONCURRENCY}test_several_event_loops_and_a_thread_at_the_same_time",
    ),
)

SAFETY = (
    must(
        19,
        "The key shows nowhere, not in representations, logs, errors, pickles or dumps, and goes to no other host.",
        f"{SECRETS}test_neither_logs_nor_errors_show_anything",
        f"{SECRETS}test_reprs_and_pickles_hold_no_secret",
        f"{SECRETS}test_a_key_refuses_to_be_pickled",
        f"{CONCURRENCY}test_copies_work_with_the_key_of_the_environment",
        f"{NETWORK}test_no_credential_goes_to_another_host",
        f"{SECRETS}test_a_key_of_the_environment_stays_at_home",
        "tests/langchain/test_options.py::test_no_secret_shows_anywhere",
        "tests/llama_index/test_serialization.py::test_no_dump_holds_the_key_and_the_environment_gives_it_back",
        "tests/encoder/test_state.py::TestCopies::test_pickles_carry_settings_and_no_secrets",
    ),
    must(
        20,
        "A text never opens a file nor fetches an address; only an image input may, and where that is allowed can be "
        "narrowed down to nothing.",
        f"{API}test_text_is_always_text",
        "tests/encoder/test_encoder.py::TestShapes::test_text_is_never_opened",
        "tests/images/test_sources.py::TestAgentPolicy::test_without_roots_no_file_at_all",
        "tests/images/test_sources.py::TestAddresses::test_private",
        "tests/images/test_sources.py::TestFetching::test_redirects_do_not_lead_to_files",
        "tests/server/test_images.py::TestAddresses::test_private_ones_are_refused_and_not_asked",
        "tests/server/test_errors.py::TestSettings::test_no_policy_lets_requests_name_files",
    ),
    must(
        21,
        "Nothing that was sent, text or image, shows in a log or an error, also where the server repeats it.",
        f"{SECRETS}test_neither_logs_nor_errors_show_anything",
        f"{SECRETS}test_images_do_not_show_either",
        f"{REFUSALS}test_nothing_that_was_sent_is_repeated",
        f"{REFUSALS}test_short_texts_are_hidden_whole",
        f"{FLOW}test_records_hold_figures_only",
    ),
    must(
        22,
        "Blocking and awaitable methods do the same by one flow; awaiting never holds the loop up; whoever gives up "
        "gives the connections back.",
        f"{CONCURRENCY}test_the_event_loop_goes_on",
        f"{CONCURRENCY}test_cancellation_releases_the_connections",
        f"{CONCURRENCY}test_cancellation_gives_a_supplied_client_its_connection_back",
        f"{CONCURRENCY}test_closing_the_iterator_sends_nothing_more",
        f"{CONCURRENCY}test_closing_ends_what_an_abandoned_job_left_on_the_wire",
        f"{CONCURRENCY}test_an_interrupted_program_ends_while_requests_are_on_the_wire",
        f"{CONCURRENCY}test_the_sync_face_works_inside_a_running_loop",
        f"{CONCURRENCY}test_one_backend_in_several_loops",
        f"{FLOW}test_turns_are_given_back_however_it_ends",
    ),
    must(
        23,
        "Row i belongs to input i through batches, cache, repetitions, retries and mixed kinds; nothing in gives "
        "nothing out, without a request.",
        f"{ENCODER}test_mixed_items_keep_their_order_through_faults",
        f"{ENCODER}test_nothing_is_asked_for_nothing",
        f"{API}test_many_batches_keep_their_order",
        f"{FAULTS}test_any_faults_that_finally_clear_give_exactly_the_right_rows",
        "tests/test_cache.py::TestEncoderWithCache::test_hits_and_misses_mix",
        f"{PARITY}TestVectors::test_of_mixed_items_with_repetitions",
    ),
    must(
        24,
        "An error, a page or a wrong number of rows under status 200 is an error, never data.",
        f"{FAULTS}test_one_fault_never_costs_a_row",
        f"{FLOW}test_a_bad_answer_is_asked_for_again_like_any_failure",
        f"{FLOW}test_an_error_in_a_200_counts_by_its_code",
        f"{WIRE}test_anything_else_is_an_invalid_response",
        f"{NETWORK}test_a_proxy_that_answers_with_a_page",
    ),
)

COST = (
    should(
        25,
        "An image costs one tile: shrunk in the model's own geometry, upright, RGB, without loss, and one that fits a "
        "tile goes pixel for pixel. The vector is that of this machine.",
        f"{API}test_an_image_costs_one_tile_in_the_models_own_geometry",
        f"{API}test_an_image_is_never_enlarged",
        f"{API}test_a_small_image_travels_pixel_for_pixel",
        f"{API}test_other_recipes",
        f"{ENCODER}test_a_photo_is_turned_upright_before_it_is_shrunk",
        f"{ENCODER}test_images_of_every_mode_are_sent_in_rgb",
        f"{PARITY}test_images_of_every_kind_have_one_vector",
        f"{PARITY}test_a_photo_is_turned_upright_once",
    ),
    should(
        26,
        "Tokens and price are known before anything is sent, use is counted as it goes, and a budget is not overspent "
        "even where the service counts more than estimated.",
        "tests/test_tokens.py::TestImages::test_tiles",
        "tests/test_tokens.py::TestEstimate::test_sums_and_price",
        "tests/test_tokens.py::TestTheMostThatATextCanCost::test_no_text_costs_more",
        "tests/cli/test_estimate.py::test_tiles_are_counted_as_documented",
        f"{ENCODER}test_usage_runs_on",
        f"{FAULTS}test_the_budget_ends_the_job_before_it_is_overspent",
        f"{FAULTS}test_the_first_requests_do_not_overspend_either",
        f"{FAULTS}test_a_budget_that_is_too_small_for_the_first_request_sends_nothing",
        f"{FAULTS}test_a_budget_knows_the_price_of_images_that_the_service_fetches",
        f"{FLOW}test_what_counts_against_the_budget",
        f"{FLOW}test_what_is_abandoned_on_the_wire_counts_against_the_budget",
        f"{LIMITS}test_budget_counts_what_is_under_way",
    ),
    should(
        27,
        "Requests and tokens per minute are kept where they are set, and what the headers say is left is heeded.",
        f"{FLOW}test_pace_is_kept",
        f"{FLOW}test_remaining_headers_are_heeded",
        f"{LIMITS}test_no_minute_ever_holds_more_than_its_limit",
        f"{LIMITS}test_requests_and_tokens_per_minute_are_both_kept",
        f"{LIMITS}test_headers_that_say_nothing_is_left_stop_until_the_minute_is_over",
        f"{LIMITS}test_a_header_that_lies_costs_one_minute_and_no_more",
    ),
    should(
        28,
        "Each kind of 429 has its answer: fewer at once, a wait for the minute, or a slower pace.",
        f"{FLOW}test_too_many_at_once_makes_the_gate_narrower",
        f"{FLOW}test_a_rate_limit_holds_everybody_else_too",
        f"{FLOW}test_a_pace_that_the_service_names_is_kept",
        f"{WAITS}test_limits_wait_longer_than_failures",
        f"{REFUSALS}test_the_limit_is_read_from_the_message",
        f"{CONCURRENCY}test_the_services_own_limit_is_found_and_kept",
    ),
    should(
        29,
        "A request that is too large or too slow is halved down to one item before anything is given up.",
        f"{FAULTS}test_a_request_that_is_too_much_is_halved",
        f"{FAULTS}test_one_item_that_is_too_much_is_named",
        f"{FLOW}test_too_large_is_halved_down_to_one",
        f"{FLOW}test_a_gateway_timeout_is_repeated_once_and_then_halved",
    ),
    should(
        30,
        "A bad item can be skipped without losing the others that travelled with it.",
        f"{ENCODER}test_an_item_that_the_service_refuses_can_be_skipped",
        f"{FAULTS}test_bad_items_are_isolated",
        f"{API}test_a_broken_image",
        f"{FLOW}test_a_bad_item_is_found_by_halves",
        f"{FLOW}test_a_named_bad_item_is_left_out_at_once",
        f"{PARITY}TestBadItems::test_skipped",
    ),
    should(
        31,
        "Vectors are asked for in base64, and as plain floats from a server that knows no base64.",
        f"{API}test_the_request_of_a_text",
        f"{FAULTS}test_a_server_that_knows_no_encoding_is_asked_for_floats",
        f"{REFUSALS}test_a_refusal_of_one_field",
        f"{FAULTS}test_one_fault_never_costs_a_row",
    ),
)

COMFORT = (
    should(
        32,
        "The key is found in three variables, in order, cleaned of blanks and a stray scheme; one that no header could "
        "carry is refused in clear words.",
        f"{SECRETS}test_the_environment_is_asked_in_order",
        f"{SECRETS}test_a_key_of_the_environment_is_sent",
        f"{SECRETS}test_ways_to_give_a_key",
        f"{SECRETS}test_keys_that_no_header_could_carry",
        f"{SECRETS}test_a_callable_that_fails",
    ),
    should(
        33,
        "Another model in the answer than the one that was asked for is warned about, once.",
        f"{SETTINGS}test_another_model_in_the_answer_is_reported_once",
    ),
    should(
        34,
        "Connections are kept and a stale one costs no attempt; proxies, certificates and own clients work.",
        f"{CONCURRENCY}test_connections_are_reused",
        f"{FAULTS}test_a_kept_connection_that_turns_out_closed_costs_no_attempt",
        f"{NETWORK}test_a_proxy_of_the_environment_is_used",
        f"{NETWORK}test_an_authority_that_the_environment_names",
        f"{NETWORK}test_an_authority_that_a_supplied_client_knows",
        f"{SETTINGS}test_supplied_clients_are_used_and_left_open",
    ),
    should(
        35,
        "No key goes over plain http to another machine.",
        f"{SECRETS}test_plain_http_to_another_machine_is_refused",
        f"{SECRETS}test_plain_http_to_this_machine_is_fine",
        f"{SECRETS}test_a_key_of_the_environment_stays_at_home",
    ),
    should(
        36,
        "An answer is read up to a size, unpacked; keys that nobody knows are passed over.",
        f"{FAULTS}test_an_answer_that_never_ends_is_not_read_to_its_end",
        f"{NETWORK}test_what_a_small_answer_unpacks_to_is_limited_too",
        f"{WIRE}test_model_and_unknown_keys",
        f"{FAULTS}test_one_fault_never_costs_a_row",
    ),
    should(
        37,
        "Requests say who sends them, and a hook is told figures of every attempt and nothing of its content.",
        f"{API}test_the_request_of_a_text",
        f"{SETTINGS}test_records_for_metrics",
        f"{FLOW}test_records_hold_figures_only",
        f"{FLOW}test_a_failing_hook_costs_nothing",
    ),
    should(
        38,
        "The same content is paid for once in a job, and once for ever with a cache, whose entries serve every width.",
        f"{ENCODER}test_the_same_content_is_paid_for_once",
        f"{ENCODER}test_a_cache_carries_on_where_the_account_ended",
        "tests/test_cache.py::TestKeys::test_differ_in_everything_that_changes_a_vector",
        "tests/test_cache.py::TestEncoderWithCache::test_one_entry_serves_every_width",
    ),
    should(
        39,
        "Errors of AWS become the same classes: throttling, model errors, not ready, credentials.",
        f"{SAGEMAKER}test_aws_errors",
        f"{SAGEMAKER}test_throttling_that_passes",
        f"{SAGEMAKER}test_a_model_error_is_what_the_container_said",
        f"{SAGEMAKER}test_calls_that_aws_never_answered",
    ),
    should(
        40,
        "Address, path, credentials, dialect and limits are settings; nothing is guessed from a name.",
        f"{SETTINGS}test_the_signature_and_the_settings_agree",
        f"{SETTINGS}test_a_prefix_in_the_address_is_kept",
        f"{SETTINGS}test_own_headers_are_sent_and_win",
        f"{SETTINGS}test_unknown_models_at_a_server_of_ones_own",
        f"{DIALECTS}test_a_dialect_of_ones_own",
        f"{DIALECTS}test_the_host_decides_nothing",
        f"{DIALECTS}test_the_examples_of_the_guide_for_other_clouds",
        f"{SECRETS}test_a_callable_is_asked_before_every_request",
        f"{SAGEMAKER}test_more_arguments_of_the_call",
    ),
)

ENTRIES: tuple[Entry, ...] = (*REQUESTS, *ANSWERS, *REFUSED, *TIMES_AND_SIZES, *SAFETY, *COST, *COMFORT)
