"""Every trap that the specification of the benchmarks names has a test; this table says which."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# trap -> tests that fall over it, by the name of their file below tests/
TRAPS = {
    "options spelled None, NA, null or 10 stay texts (0.7, 3c, 3e)": {
        "data/test_data_sets_made.py": ("test_nextqa_texts_stay_texts", "test_how2qa_processed_csv"),
        "data/test_data_sets_real.py": ("test_how2qa_authors_file",),
        "data/test_annotation_files.py": ("test_line_ends_marks_quotes_and_further_columns",),
    },
    "two equal options: graded by place (1, 3d, 9)": {
        "data/test_data_sets_real.py": ("test_nextqa",),
        "data/test_data_captions.py": ("test_mvbench",),
        "scoring/test_scoring_multiple_choice.py": ("test_equal_options_are_graded_by_place",),
    },
    "an empty option keeps its place": {"data/test_annotation_files.py": ("test_labels_as_tables_write_them",)},
    "NaN-NaN spans are the whole clip (3, 4)": {
        "data/test_data_sets_real.py": ("test_tvqa_whole_clips",),
        "data/test_data_sets_made.py": ("test_tvqa_subtitles_srt_and_jsonl",),
        "data/test_sets_paragraphs.py": ("test_how2qa_of_lf_vila_and_sevila",),
    },
    "colons in file names, TV names without _ep (5)": {
        "data/test_data_sets_real.py": ("test_vlep",),
        "data/test_annotation_files.py": ("test_colons_may_be_underscores_in_the_file_system",),
    },
    "empty predictions: MVBench's empty string and bracket count officially and not strictly (9)": {
        "scoring/test_scoring_generated.py": ("test_loose_matching_counts_nothing_as_right", "test_strict_matching"),
    },
    "empty predictions: no window, no caption, no answer (6, 10, 16)": {
        "scoring/test_official_numbers.py": ("test_moments_by_hand", "test_both_denominators_of_free"),
        "scoring/test_round_trips.py": ("test_captions_in_the_form_of_the_coco_toolkit",),
        "scoring/test_submission.py": ("test_files_that_servers_take",),
    },
    "missing, surplus and repeated predictions (0.3, 6)": {
        "scoring/test_scoring_multiple_choice.py": ("test_records_must_match_samples",),
        "scoring/test_round_trips.py": (
            "test_odd_files_are_told",
            "test_whole_numbers_in_any_spelling_and_missing_rows_on_request",
        ),
    },
    "ties: ranks of retrieval, equal saliency (6, 12)": {
        "scoring/test_scoring_retrieval.py": (
            "test_ties_by_both_rules",
            "test_where_there_are_ties_every_rule_is_reported",
        ),
        "scoring/test_official_numbers.py": ("test_highlights_with_ties_and_missing_scores",),
    },
    "segments beyond the end or the wrong way round (12)": {
        "data/test_sets_paragraphs.py": ("test_activitynet_captions",),
        "data/test_data_sets_real.py": ("test_activitynet_captions_segments_end_with_the_video",),
        "scoring/test_official_numbers.py": ("test_highlights_with_ties_and_missing_scores",),
        "media/test_media_sampling.py": ("test_span_rows", "test_span_frames_never_empty"),
    },
    "twenty captions per video (16)": {"data/test_data_captions.py": ("test_msrvtt_twenty_captions_per_video",)},
    "unlabelled splits (2, 4, 5, 6, 7, 8, 13)": {
        "data/test_data_sets_real.py": ("test_every_row_becomes_a_sample",),
        "data/test_data_sets_made.py": ("test_star",),
        "data/test_sets_open_qa.py": ("test_activitynet_qa_joins_by_id_not_by_place", "test_qvhighlights"),
        "data/test_sets_paragraphs.py": ("test_violin",),
        "data/test_data_captions.py": ("test_msrvtt_unlabelled_and_wrong", "test_vatex"),
        "scoring/test_scoring_multiple_choice.py": ("test_no_known_answer_gives_no_accuracy",),
    },
    "the subset of EgoSchema is no validation set; the first file had no questions (8)": {
        "data/test_annotation_files.py": ("test_answers_without_a_question_are_counted",),
        "data/test_data_textvid.py": ("test_egoschema_subset_and_full_set", "test_egoschema_without_questions_is_told"),
    },
    "How2QA: the right option is always the first, one row lost as a header (3a, 3b)": {
        "data/test_data_sets_real.py": ("test_how2qa_authors_file",),
        "data/test_expected_counts.py": ("test_builders_whose_counts_depend_on_the_file",),
        "scoring/test_round_trips.py": ("test_how2qa_predictions_count_options_as_the_file_does",),
    },
    "STAR: macro and micro; the graphs stay out of the input (2)": {
        "scoring/test_official_numbers.py": ("test_star_macro_and_micro",),
        "data/test_data_sets_real.py": ("test_star_drops_the_graphs",),
    },
    "VLEP's two keys of a prediction (5)": {"scoring/test_official_numbers.py": ("test_vlep_takes_both_keys",)},
    "DramaQA: scenes, single shots, missing shots (7)": {
        "data/test_data_sets_made.py": (
            "test_dramaqa_scenes_and_shots",
            "test_a_scene_without_any_shot_has_one_zero_row_per_shot",
        ),
    },
    "ActivityNet-QA: both denominators of Free; answers outside the vocabulary are wrong (10)": {
        "scoring/test_official_numbers.py": ("test_both_denominators_of_free",),
        "data/test_sets_open_qa.py": ("test_activitynet_qa_of_lf_vila",),
        "scoring/test_scoring_retrieval.py": ("test_failed_videos_are_wrong_and_hidden_classes_not_counted",),
    },
    "questions and answers are joined by id, not by place (10b)": {
        "data/test_sets_open_qa.py": ("test_activitynet_qa_joins_by_id_not_by_place",),
    },
    "TGIF-QA: tabs in a csv, the description tells the answer, decord reads no GIF (10)": {
        "data/test_sets_open_qa.py": ("test_tgif", "test_tgif_finds_the_converted_file_first"),
        "runners/test_prepare.py": ("test_gifs_become_mp4",),
    },
    "the judge is named with its numbers; replies that cannot be read (10a)": {
        "scoring/test_judge.py": (
            "test_metrics_carry_the_judges_name_and_count_the_skipped",
            "test_unreadable_replies_are_asked_for_a_bounded_number_of_times",
        ),
    },
    "DiDeMo: one video under several suffixes; chunks of five seconds (12)": {
        "data/test_sets_paragraphs.py": ("test_didemo_joins_by_stem",),
        "data/test_data_sets_real.py": ("test_didemo_names_with_other_suffixes",),
    },
    "COIN: subsets called validation or testing (14)": {"data/test_sets_paragraphs.py": ("test_coin",)},
    "LVU: class ids with gaps, a class named \\N, clips of one video united (15)": {
        "data/test_sets_paragraphs.py": ("test_lvu",),
        "scoring/test_scoring_retrieval.py": ("test_clips_of_a_video_are_united",),
    },
    "TextVID: malformed questions; LF-VILA-8M: values are never run (17)": {
        "data/test_data_textvid.py": ("test_a_broken_question_keeps_its_place_and_says_why",),
        "data/test_data_lfvila8m.py": ("test_values_are_parsed_never_run",),
    },
    "padding rows are not counted twice (0.3)": {
        "data/test_data_sampler.py": ("test_evaluation_is_exactly_once",),
        "runners/test_distributed.py": ("test_records_are_equal_at_every_world_size",),
    },
    "a broken video is wrong and named, never replaced (0.4)": {
        "bad_inputs/test_bad_videos.py": ("test_counted_with_its_reason_and_the_others_are_there",),
        "scoring/test_scoring_multiple_choice.py": (
            "test_failed_records_count_as_wrong_and_hidden_answers_not_at_all",
        ),
    },
    "no row is dropped without being counted (19.1)": {
        "data/test_sets_paragraphs.py": ("test_condensed_movies", "test_coin", "test_didemo_joins_by_stem"),
        "data/test_annotation_files.py": (
            "test_answers_without_a_question_are_counted",
            "test_second_references_without_a_question_are_counted",
            "test_a_name_that_stands_twice_is_told",
        ),
        "data/test_data_lfvila8m.py": ("test_runs_are_cut_at_gaps_and_missing_texts",),
    },
}


@cache
def functions_of(file: str) -> frozenset[str]:
    """Names of the test functions of a file."""
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_has_its_tests(trap: str) -> None:
    absent = [
        f"{file}::{name}" for file, names in TRAPS[trap].items() for name in names if name not in functions_of(file)
    ]
    assert not absent
