"""What LlamaIndex, LangChain and the vector stores ask of an integration, and the test or page that answers.

MUST: without it the framework breaks or says something false. SHOULD: users of that framework expect it. TRAP: the
framework does it, and an integration has to live with it. `python tools/contract.py frameworks` prints the table and
fails if a test or heading is not there any more.
"""

from __future__ import annotations

from typing import NamedTuple

SUBJECT = "framework"
SUBJECTS = ("llama-index", "langchain", "stores")
LEVELS = ("MUST", "SHOULD", "TRAP")

LLAMA = "tests/llama_index"
CHAIN = "tests/langchain"
STORES = "tests/stores"
GAPS = "tests/test_contract_gaps.py"


class Entry(NamedTuple):
    """One demand: `covered` names tests (`file.py::name`) and headings (`page.md#heading`); without any, `why_not`."""

    subject: str
    level: str
    says: str
    covered: tuple[str, ...] = ()
    why_not: str = ""


def llama(level: str, says: str, *covered: str, why_not: str = "") -> Entry:
    return Entry("llama-index", level, says, covered, why_not)


def chain(level: str, says: str, *covered: str, why_not: str = "") -> Entry:
    return Entry("langchain", level, says, covered, why_not)


def store(level: str, says: str, *covered: str, why_not: str = "") -> Entry:
    return Entry("stores", level, says, covered, why_not)


HOOKS = (
    llama(
        "MUST",
        "All ten embedding hooks are ours; the inherited ones are slow or block the loop.",
        f"{LLAMA}/test_embedding.py::test_all_ten_hooks_are_our_own",
        f"{LLAMA}/test_embedding.py::test_every_hook_gives_its_vectors",
        f"{LLAMA}/test_embedding.py::test_the_event_loop_stays_free",
    ),
    llama(
        "MUST",
        "Async hooks return vectors, not coroutines or a part of one.",
        f"{LLAMA}/test_embedding.py::test_every_hook_gives_its_vectors",
        f"{LLAMA}/test_embedding.py::test_public_single_methods",
    ),
    llama(
        "MUST",
        "The query instruction reaches queries only.",
        f"{LLAMA}/test_embedding.py::test_public_single_methods",
        f"{LLAMA}/test_embedding.py::test_query_task_none_makes_a_query_a_text",
        f"{LLAMA}/test_remote.py::test_every_method_sends_every_option",
    ),
    llama(
        "MUST",
        "Vectors are lists of Python floats, because they end in JSON.",
        f"{LLAMA}/test_embedding.py::test_texts_keep_their_order",
        f"{LLAMA}/test_embedding.py::test_images_keep_their_order",
        f"{LLAMA}/test_cache_and_limiter.py::test_the_store_stays_the_users_own",
    ),
    llama(
        "MUST",
        "The model's name stands in `model_name`, where observers look for it.",
        f"{LLAMA}/test_embedding.py::test_it_is_an_embedding_model_of_llama_index",
        f"{LLAMA}/test_instrumentation.py::test_one_image_has_a_span_both_events_and_a_short_chunk",
        f"{LLAMA}/test_instrumentation.py::test_the_payload_has_facts_and_no_secrets",
    ),
    llama(
        "MUST",
        "The global setting keeps the object and assigns callbacks to it, so it is not frozen.",
        f"{LLAMA}/test_embedding.py::test_settings_keep_the_object_and_may_assign_its_callbacks",
        f"{GAPS}::test_the_global_setting_may_assign_other_callbacks",
    ),
    llama(
        "TRAP",
        "The base class swallows unknown constructor keywords.",
        f"{LLAMA}/test_serialization.py::test_unknown_names_are_refused_and_synonyms_understood",
    ),
    llama(
        "TRAP",
        "The slice size is checked when it is given, not when it is assigned.",
        f"{LLAMA}/test_embedding.py::test_the_slice_size_is_checked_at_every_use",
    ),
    llama(
        "TRAP",
        "The wrapper for LangChain objects reads texts only, and finds a name only in `model_name` or `model`.",
        f"{CHAIN}/test_options.py::test_other_names_can_be_read",
    ),
    llama(
        "SHOULD",
        "The usual parameter names are understood, and an empty environment variable is no key.",
        f"{LLAMA}/test_serialization.py::test_unknown_names_are_refused_and_synonyms_understood",
        f"{GAPS}::test_an_empty_variable_is_no_key",
    ),
    llama(
        "SHOULD",
        "The class is a multimodal embedding of the framework, with a stable class name.",
        f"{LLAMA}/test_embedding.py::test_it_is_an_embedding_model_of_llama_index",
    ),
)

BATCHES = (
    llama(
        "SHOULD",
        "The default slice suits a remote call and a device; slices are cut further inside.",
        f"{LLAMA}/test_embedding.py::test_the_framework_hands_over_slices",
        f"{LLAMA}/test_remote.py::test_a_slice_is_cut_into_requests",
        f"{LLAMA}/test_instrumentation.py::test_the_payload_has_facts_and_no_secrets",
    ),
    llama(
        "MUST",
        "Concurrency is bounded inside: async image batches come without a limit, texts without one by default.",
        f"{LLAMA}/test_embedding.py::test_concurrency_is_bounded_with_and_without_num_workers",
        "tests/backends/remote/test_concurrency.py::test_concurrency_starts_low_and_stays_below_its_ceiling",
    ),
    llama(
        "SHOULD",
        "Progress bars with the framework's titles, in both faces.",
        f"{LLAMA}/test_embedding.py::test_progress_is_shown_when_asked",
        f"{LLAMA}/test_ingestion.py::test_progress_is_passed_on",
    ),
    llama(
        "SHOULD",
        "The text batch tolerates further keywords, as the base class does.",
        f"{GAPS}::test_the_text_batch_ignores_further_keywords",
    ),
    llama(
        "TRAP",
        "Event loops change between calls; a connection must not outlive its loop.",
        f"{LLAMA}/test_remote.py::test_one_object_serves_one_loop_after_another",
        f"{LLAMA}/test_embedding.py::test_one_object_works_in_one_loop_after_another",
        "tests/backends/remote/test_concurrency.py::test_one_backend_in_several_loops",
    ),
)

CACHE_AND_LIMITER = (
    llama(
        "TRAP",
        "A vector store by text alone mixes up models, widths, and queries with documents.",
        f"{LLAMA}/test_cache_and_limiter.py::test_one_store_serves_many_configurations",
        f"{LLAMA}/test_cache_and_limiter.py::test_a_query_and_a_document_are_kept_apart",
        f"{LLAMA}/test_cache_and_limiter.py::test_an_assigned_width_is_another_configuration",
    ),
    llama(
        "SHOULD",
        "Every configuration has keys of its own, images are kept by content, the user's store stays readable.",
        f"{LLAMA}/test_cache_and_limiter.py::test_one_store_serves_many_configurations",
        f"{LLAMA}/test_cache_and_limiter.py::test_images_are_known_by_their_bytes",
        f"{LLAMA}/test_cache_and_limiter.py::test_a_second_round_computes_nothing",
        f"{LLAMA}/test_cache_and_limiter.py::test_the_store_stays_the_users_own",
    ),
    llama(
        "TRAP",
        "The base class asks the limiter for cached texts in one face and for nothing in the other.",
        f"{LLAMA}/test_cache_and_limiter.py::test_the_limiter_is_not_asked_for_what_is_cached",
    ),
    llama(
        "SHOULD",
        "The limiter is asked for images too, once per request, with estimated tokens.",
        f"{LLAMA}/test_cache_and_limiter.py::test_the_limiter_is_asked_for_every_kind_of_request",
        f"{LLAMA}/test_cache_and_limiter.py::test_a_slice_that_takes_several_requests_asks_for_each",
        f"{LLAMA}/test_cache_and_limiter.py::test_large_images_cost_their_tiles_when_they_are_not_resized",
        f"{LLAMA}/test_cache_and_limiter.py::test_the_frameworks_limiters_never_wait_for_what_they_cannot_grant",
    ),
)

OBSERVERS = (
    llama(
        "TRAP",
        "Callbacks get an image as it was given, and counting its tokens fails.",
        f"{LLAMA}/test_instrumentation.py::test_token_counting_survives_images",
    ),
    llama(
        "SHOULD",
        "Image methods have a span, both events and callbacks, with short words in place of the image.",
        f"{LLAMA}/test_instrumentation.py::test_one_image_has_a_span_both_events_and_a_short_chunk",
        f"{LLAMA}/test_instrumentation.py::test_a_batch_of_images_has_one_span_and_events_for_each_slice",
        f"{LLAMA}/test_instrumentation.py::test_a_failure_ends_the_span_and_the_callback_event",
    ),
    llama(
        "SHOULD",
        "Overridden text methods keep exactly one span and one pair of events per slice.",
        f"{LLAMA}/test_instrumentation.py::test_texts_have_one_span_and_one_pair_of_events_for_each_slice",
    ),
    llama(
        "TRAP",
        "Tracing serialises the arguments of a call, so a data URI would land in a trace.",
        f"{LLAMA}/test_instrumentation.py::test_nothing_observed_holds_the_image_or_the_key",
    ),
    llama(
        "MUST",
        "The payload for handlers holds facts, and no key, header or URL with credentials.",
        f"{LLAMA}/test_instrumentation.py::test_the_payload_has_facts_and_no_secrets",
        f"{LLAMA}/test_serialization.py::test_no_dump_holds_the_key_and_the_environment_gives_it_back",
    ),
)

SERIALISATION = (
    llama(
        "MUST",
        "Every dumped field is a constructor argument and can be written as JSON.",
        f"{LLAMA}/test_serialization.py::test_a_dump_is_json_and_rebuilds_the_object",
        f"{LLAMA}/test_serialization.py::test_other_objects_are_put_into_words_or_refused",
        f"{LLAMA}/test_local.py::test_a_dump_rebuilds_a_working_object",
    ),
    llama(
        "TRAP",
        "A secret field that stays in the dump comes back as ten asterisks, which would be sent as the key.",
        f"{LLAMA}/test_serialization.py::test_a_masked_key_counts_as_missing",
    ),
    llama(
        "MUST",
        "The key is in no dump and is read from the environment on the way back; asterisks count as missing.",
        f"{LLAMA}/test_serialization.py::test_no_dump_holds_the_key_and_the_environment_gives_it_back",
        f"{LLAMA}/test_serialization.py::test_a_masked_key_counts_as_missing",
    ),
    llama(
        "TRAP",
        "A cache store in the dump breaks `to_json()`.",
        f"{LLAMA}/test_serialization.py::test_other_objects_are_put_into_words_or_refused",
    ),
    llama(
        "MUST",
        "Options that change vectors are fields, or a dump and the pipeline's hash forget them.",
        f"{LLAMA}/test_serialization.py::"
        "test_the_fields_are_the_options_of_the_encoder_both_backends_and_the_base_class",
        f"{LLAMA}/test_serialization.py::test_what_changes_vectors_changes_the_key",
    ),
    llama(
        "TRAP",
        "Pickling drops what does not pickle, with warnings, and rebuilds through the constructor.",
        f"{LLAMA}/test_serialization.py::test_pickles_rebuild_the_object",
        f"{LLAMA}/test_serialization.py::test_a_used_object_pickles_and_works_again",
        f"{LLAMA}/test_serialization.py::test_what_does_not_pickle_stays_behind_and_stays_in_place",
        f"{LLAMA}/test_serialization.py::test_a_backend_that_does_not_pickle_is_never_replaced_in_silence",
    ),
    llama(
        "MUST",
        "Deep copies of a used object work: the model is shared, clients are shared or rebuilt.",
        f"{LLAMA}/test_serialization.py::test_copies_of_a_used_object_work",
        f"{LLAMA}/test_local.py::test_copies_share_the_loaded_model",
    ),
    llama(
        "SHOULD",
        "A field assigned later takes effect with the next call.",
        f"{LLAMA}/test_embedding.py::test_assigned_fields_take_effect_on_the_next_call",
    ),
    llama(
        "TRAP",
        "The framework's loader by name knows only its own embeddings.",
        "docs/llama-index.md#saving-and-loading",
        f"{LLAMA}/test_serialization.py::test_a_dump_is_json_and_rebuilds_the_object",
    ),
)

IMAGES = (
    llama(
        "SHOULD",
        "Nodes, documents, blocks and media resources are images, as are paths, bytes, streams and URLs.",
        f"{LLAMA}/test_image_inputs.py::test_every_form_is_the_same_image",
        f"{LLAMA}/test_image_inputs.py::test_a_form_alone_and_one_in_place_of_a_list",
        f"{LLAMA}/test_image_inputs.py::test_what_carries_no_image_is_refused_by_index",
    ),
    llama(
        "TRAP",
        "The framework fetches a URL without looking at the status, so an error page arrives as an image.",
        f"{GAPS}::test_an_error_page_is_no_image",
        "tests/images/test_sources.py::TestFetching::test_anything_else_says_why",
        "docs/llama-index.md#multimodalvectorstoreindex",
    ),
    llama(
        "TRAP",
        "An image node with a data URI cannot resolve it by itself.",
        f"{LLAMA}/test_image_inputs.py::test_every_form_is_the_same_image",
    ),
    llama(
        "TRAP",
        "Stores write whole nodes, base64 included, into metadata that has limits.",
        "docs/llama-index.md#one-store-for-texts-and-images",
        f"{STORES}/test_recipes.py::test_pinecone",
    ),
)

INGESTION = (
    llama(
        "SHOULD",
        "As a pipeline step, images go the image way and all else the text way, in order and in place.",
        f"{LLAMA}/test_ingestion.py::test_nodes_are_embedded_by_what_they_carry",
        f"{LLAMA}/test_ingestion.py::test_a_pipeline_turns_documents_into_embedded_nodes",
        f"{LLAMA}/test_image_inputs.py::test_nodes_with_an_image_are_recognised",
    ),
    llama(
        "MUST",
        "What changes vectors is in the dump, from which the pipeline's cache key is made.",
        f"{LLAMA}/test_serialization.py::test_what_changes_vectors_changes_the_key",
        f"{LLAMA}/test_ingestion.py::test_the_pipelines_cache_answers_a_second_run",
    ),
    llama(
        "MUST",
        "The dump is the same from run to run and without the key, or the cache never answers.",
        f"{LLAMA}/test_serialization.py::test_the_key_is_stable_after_use_and_between_objects",
        f"{LLAMA}/test_serialization.py::test_what_changes_no_vector_keeps_the_key",
        f"{LLAMA}/test_ingestion.py::test_a_backend_object_needs_the_pipelines_cache_off",
    ),
    llama(
        "TRAP",
        "The pipeline's cache does not look at images: two bare image nodes have one key.",
        f"{GAPS}::test_a_file_path_in_the_metadata_tells_image_nodes_apart",
        "docs/llama-index.md#one-store-for-texts-and-images",
    ),
    llama(
        "MUST",
        "A pipeline with several processes pickles the step and builds a backend in each.",
        f"{LLAMA}/test_ingestion.py::test_a_pool_of_processes_embeds_too",
        "docs/llama-index.md#one-store-for-texts-and-images",
    ),
    llama(
        "SHOULD",
        "Nodes that come with a vector are not embedded again by an index.",
        f"{GAPS}::test_an_index_keeps_the_vectors_of_its_nodes",
    ),
)

MIXED_INDEX = "docs/llama-index.md#multimodalvectorstoreindex"
INDEXES = (
    llama(
        "SHOULD",
        "One object serves the multimodal index as text and image model, in both faces.",
        f"{LLAMA}/test_indexes.py::test_words_find_images",
        f"{LLAMA}/test_indexes.py::test_an_image_finds_its_like",
        f"{LLAMA}/test_indexes.py::test_words_find_texts_and_both_together",
        f"{LLAMA}/test_indexes.py::test_the_async_twins_find_the_same",
        f"{LLAMA}/test_indexes.py::test_indexing_with_use_async_gives_the_same_index",
    ),
    llama(
        "TRAP",
        "Left out, the index's image model is another CLIP, which needs another package.",
        f"{LLAMA}/test_indexes.py::test_words_find_images",
        MIXED_INDEX,
    ),
    llama(
        "TRAP",
        "Several queries are averaged, and the mean is not brought to unit length again.",
        f"{LLAMA}/test_embedding.py::test_queries_are_averaged",
    ),
    llama("TRAP", "The index drops an image node that has neither text nor metadata.", MIXED_INDEX),
    llama("TRAP", "Inserting one kind later hides the other kind.", MIXED_INDEX),
    llama("TRAP", "Retrieving with an image in the bundle fails; images have a method of their own.", MIXED_INDEX),
    llama("TRAP", "A query bundle keeps the vector of its last use.", MIXED_INDEX),
    llama("TRAP", "Reading images as captions replaces the image model for good.", MIXED_INDEX),
    llama("TRAP", "Two FAISS stores in one index mix up their row numbers.", MIXED_INDEX),
    llama(
        "TRAP",
        "An index over a store that keeps no texts is refused.",
        "docs/llama-index.md#one-store-for-texts-and-images",
    ),
    llama("TRAP", "The index's own query engine is deprecated.", MIXED_INDEX),
    llama(
        "SHOULD",
        "One ordinary index over mixed nodes answers words and images.",
        f"{LLAMA}/test_indexes.py::test_one_store_for_texts_and_images",
        f"{STORES}/test_llama_index.py::test_words_and_images_find_texts_and_images",
    ),
    llama(
        "TRAP",
        "The framework's retriever tool gives an agent words only, never the image.",
        f"{LLAMA}/test_tools.py::test_the_tool_shows_what_it_found",
        "docs/llama-index.md#images-for-an-agent",
    ),
    llama(
        "TRAP",
        "The folder reader makes undecodable texts of images unless another package is installed.",
        "docs/llama-index.md#one-store-for-texts-and-images",
    ),
    llama(
        "MUST",
        "No package file is put into the framework's namespace packages.",
        why_not="the package lives under its own import name and ships nothing below `llama_index`",
    ),
)

INTERFACE = (
    chain(
        "MUST",
        "The async pair is ours; the inherited one only moves the blocking call to a thread.",
        f"{CHAIN}/test_embeddings.py::test_the_async_methods_leave_the_event_loop_free",
        f"{CHAIN}/test_embeddings.py::test_documents_keep_their_order_and_are_plain_floats",
        f"{CHAIN}/test_remote.py::test_every_method_sends_every_option",
    ),
    chain(
        "MUST",
        "An empty list gives an empty list, without a request.",
        f"{CHAIN}/test_embeddings.py::test_nothing_gives_nothing_without_a_request",
    ),
    chain(
        "MUST",
        "An unknown option is an error; otherwise a slip of the pen is lost.",
        f"{CHAIN}/test_options.py::test_an_unknown_option_is_refused_with_the_nearest_name",
        f"{CHAIN}/test_options.py::test_the_image_view_refuses_unknown_fields",
    ),
    chain(
        "TRAP",
        "The framework's secret lookup stops at the first variable that exists, even an empty one.",
        f"{CHAIN}/test_options.py::test_the_first_usable_variable_counts",
    ),
    chain(
        "MUST",
        "A key from the environment can be read back on the object.",
        f"{CHAIN}/test_standard.py::TestUnit",
        f"{CHAIN}/test_options.py::test_a_key_can_be_given_and_read_back",
        f"{CHAIN}/test_options.py::test_the_first_usable_variable_counts",
    ),
    chain(
        "MUST",
        "A missing key is reported with the variable's name.",
        f"{CHAIN}/test_embeddings.py::test_a_missing_key_is_named_on_first_use",
    ),
    chain(
        "SHOULD",
        "Names from other packages are understood.",
        f"{CHAIN}/test_options.py::test_synonyms_of_other_packages",
        f"{CHAIN}/test_options.py::test_other_names_can_be_read",
        f"{CHAIN}/test_options.py::test_two_names_for_one_option_must_agree",
    ),
    chain(
        "TRAP",
        "The repr is what the framework serialises, so it is short and holds no secret; nor does a dump.",
        f"{CHAIN}/test_options.py::test_no_secret_shows_anywhere",
        f"{CHAIN}/test_options.py::test_repr_is_short_and_says_what_was_chosen",
    ),
    chain(
        "SHOULD",
        "Pickles, copies and equality simply work.",
        f"{CHAIN}/test_options.py::test_equal_settings_are_equal",
        f"{CHAIN}/test_options.py::test_pickles_rebuild_an_equal_object",
        f"{CHAIN}/test_options.py::test_a_pickle_reads_the_key_from_the_environment_on_the_way_back",
        f"{CHAIN}/test_options.py::test_copies_of_a_used_object_work_and_share_the_backend",
    ),
    chain(
        "SHOULD",
        "A retriever carries the name of the embedding class as a tag.",
        f"{CHAIN}/test_stores.py::test_retrievers_find_images_in_both_faces",
    ),
    chain(
        "MUST",
        "The framework's two standard suites pass without an exception, without network at construction.",
        f"{CHAIN}/test_standard.py::TestUnit",
        f"{CHAIN}/test_standard.py::TestIntegrationOnTheDemoModel",
        f"{CHAIN}/test_standard.py::TestIntegrationOverAServer",
        f"{CHAIN}/test_options.py::test_construction_loads_neither_a_model_nor_a_client",
    ),
)

CHAIN_IMAGES = (
    chain(
        "MUST",
        "The image methods serve all conventions: one or many, by keyword or position, blocking inside a loop.",
        f"{CHAIN}/test_embeddings.py::test_many_images_give_many_vectors",
        f"{CHAIN}/test_embeddings.py::test_one_image_gives_one_vector",
        f"{GAPS}::test_images_by_position_inside_a_running_loop",
        f"{CHAIN}/test_stores.py::test_stores_that_add_images_by_keyword",
    ),
    chain(
        "MUST",
        "Chroma's image methods get plain lists, with and without metadata.",
        f"{STORES}/test_chroma_images.py::test_words_and_images_find_images",
        f"{STORES}/test_chroma_images.py::test_without_metadata_too",
    ),
    chain(
        "TRAP",
        "Chroma stores an image's base64 as text and takes local paths only.",
        f"{STORES}/test_chroma_images.py::test_words_and_images_find_images",
        "docs/langchain.md#any-vector-store",
        "docs/stores.md#chroma",
    ),
    chain(
        "TRAP",
        "Chroma's image search with scores fails for every embedding model.",
        why_not="a fault of that package which no embedding model can reach; not covered in the guide either",
    ),
    chain(
        "SHOULD",
        "A view whose documents are image URIs makes every store and retriever find images.",
        f"{CHAIN}/test_embeddings.py::test_the_image_view_reads_documents_as_uris_and_queries_as_text",
        f"{CHAIN}/test_embeddings.py::test_the_image_view_answers_a_stores_probe_for_the_width",
        f"{CHAIN}/test_stores.py::test_words_find_the_image",
        f"{CHAIN}/test_stores.py::test_an_image_finds_its_like",
        f"{STORES}/test_langchain.py::test_words_and_images_find_texts_and_images",
    ),
    chain("SHOULD", "The URI is kept in the metadata, never the image.", "docs/langchain.md#any-vector-store"),
)

WRAPPERS = (
    chain(
        "TRAP",
        "The framework's caching wrapper hides the image methods and knows texts by their words alone.",
        f"{GAPS}::test_the_caching_wrapper_hides_the_image_methods",
        "docs/langchain.md#vectors-that-are-computed-once",
    ),
    chain(
        "SHOULD",
        "Our own cache is the replacement: it keeps images and tells configurations apart.",
        f"{CHAIN}/test_embeddings.py::test_the_cache_keeps_texts_and_images",
        "tests/test_cache.py::TestKeys::test_differ_in_everything_that_changes_a_vector",
        "docs/langchain.md#vectors-that-are-computed-once",
    ),
    chain(
        "TRAP",
        "The ensemble retriever takes documents of equal content for one unless it is told an id.",
        "docs/stores.md#one-ranking-for-texts-and-images",
        "docs/langchain.md#any-vector-store",
    ),
    chain(
        "SHOULD",
        "Retrieval with captions in the store and originals beside it is the common pattern.",
        why_not="one space makes it unnecessary: images are stored by their own vectors",
    ),
    chain(
        "TRAP",
        "A retriever tool shows the model page contents only; the image has to travel as the artifact.",
        f"{CHAIN}/test_image_documents.py::test_as_a_tool_the_image_travels_in_the_artifact",
    ),
    chain(
        "TRAP",
        "The indexing API knows texts only; the image view brings images through it.",
        f"{CHAIN}/test_stores.py::test_the_indexing_api_adds_images_once",
    ),
    chain(
        "SHOULD",
        "Content blocks in all their forms are items of the encoder.",
        "tests/test_inputs.py::TestItems::test_images",
        "tests/test_inputs.py::TestItems::test_texts",
        "tests/test_inputs.py::TestItems::test_langchain_makes_such_blocks",
    ),
    chain(
        "SHOULD",
        "A retrieved image document becomes a standard content block.",
        f"{CHAIN}/test_image_documents.py::test_documents_get_their_block_and_stay_as_they_were",
        f"{CHAIN}/test_image_documents.py::test_the_retriever_adds_the_image_in_both_faces",
        f"{CHAIN}/test_image_documents.py::test_a_block_is_what_messages_and_the_encoder_take",
    ),
    chain(
        "TRAP",
        "Importing the community package warns of its end, so nothing of ours needs it.",
        f"{GAPS}::test_no_module_imports_a_package_that_is_being_retired",
    ),
    chain(
        "SHOULD", "The package says that it is typed.", "tests/test_import.py::test_type_checkers_see_the_same_names"
    ),
    chain(
        "SHOULD",
        "The guide has setup, credentials, first steps, retrieval and options.",
        "docs/langchain.md#credentials",
        "docs/langchain.md#first-steps",
        "docs/langchain.md#any-vector-store",
        "docs/langchain.md#options",
    ),
)

VECTOR_STORES = (
    store(
        "SHOULD",
        "Every store that runs on this machine works in both frameworks, and again from a new process.",
        f"{STORES}/test_langchain.py::test_words_and_images_find_texts_and_images",
        f"{STORES}/test_langchain.py::test_a_new_process_finds_the_same",
        f"{STORES}/test_llama_index.py::test_words_and_images_find_texts_and_images",
        f"{STORES}/test_llama_index.py::test_a_new_process_finds_the_same",
    ),
    store(
        "MUST",
        "Vectors are of unit length, so that cosine and dot product rank alike.",
        "tests/test_vectors.py::test_unit_length",
        "tests/encoder/test_encoder.py::test_rows_are_finite_and_of_unit_length",
    ),
    store(
        "MUST",
        "Another width than the collection's is refused early, with both numbers.",
        f"{STORES}/test_langchain.py::test_a_store_of_another_model_or_width_is_refused",
        f"{STORES}/test_llama_index.py::test_a_store_of_another_model_or_width_is_refused",
        "tests/retrieval/test_fingerprint.py::test_a_refusal_names_both_sides_and_what_to_do",
    ),
    store(
        "TRAP",
        "Two texts are closer than a text and its image, so a mixed list needs cut-offs or fusion.",
        "tests/retrieval/test_ranking.py::test_images_are_not_buried_under_texts",
        "tests/retrieval/test_ranking.py::test_a_good_image_overtakes_a_middling_text",
        "docs/stores.md#one-ranking-for-texts-and-images",
    ),
    store(
        "SHOULD",
        "Qdrant keeps text and image in one record, may lack one of them, and fuses two searches.",
        f"{STORES}/test_qdrant_records.py::test_each_vector_is_searched_by_its_name",
        f"{STORES}/test_qdrant_records.py::test_the_store_and_our_function_fuse_alike",
        f"{STORES}/test_qdrant_records.py::test_langchain_reads_one_of_the_vectors",
    ),
    store(
        "TRAP",
        "Chroma has one vector per record, measures L2 unless told, and reports its use.",
        f"{STORES}/test_chroma_images.py::test_words_and_images_find_images",
        "docs/stores.md#chroma",
    ),
    store(
        "TRAP",
        "LanceDB takes only a column of fixed width for vectors; both frameworks make it from plain lists of ours.",
        f"{STORES}/test_langchain.py::test_words_and_images_find_texts_and_images",
        f"{STORES}/test_llama_index.py::test_words_and_images_find_texts_and_images",
    ),
    store(
        "TRAP",
        "Milvus in one file has only simple kinds of index.",
        f"{STORES}/test_langchain.py::test_words_and_images_find_texts_and_images",
        "docs/stores.md#milvus-lite",
    ),
    store(
        "TRAP",
        "FAISS keeps one vector per row, and row numbers that two stores share.",
        "docs/stores.md#faiss",
    ),
    store(
        "SHOULD",
        "PostgreSQL with pgvector is tried against a real server.",
        f"{STORES}/test_recipes.py::test_postgres",
        "docs/stores.md#postgresql-with-pgvector",
    ),
    store(
        "TRAP",
        "Weaviate's embedded mode downloads a server, so the recipe meets a stand-in.",
        f"{STORES}/test_recipes.py::test_weaviate",
        "docs/stores.md#weaviate",
    ),
    store(
        "TRAP",
        "Pinecone has one dense vector and 40 KB of metadata per record.",
        f"{STORES}/test_recipes.py::test_pinecone",
        "docs/stores.md#pinecone",
    ),
    store(
        "SHOULD",
        "An embedding function of Chroma's own kind would make it multimodal without a framework.",
        why_not="not covered: no such class is shipped; LangChain's and LlamaIndex's Chroma stores are",
    ),
)

ENTRIES: tuple[Entry, ...] = (
    *(*HOOKS, *BATCHES, *CACHE_AND_LIMITER, *OBSERVERS, *SERIALISATION, *IMAGES, *INGESTION, *INDEXES),
    *(*INTERFACE, *CHAIN_IMAGES, *WRAPPERS),
    *VECTOR_STORES,
)
