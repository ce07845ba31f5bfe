"""Estimates of tokens and price, after the vendor's own figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer

from jina_clip_integrations import ConfigurationError, ImageError, InputError, SourcePolicy, estimate_tokens
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2
from jina_clip_integrations.tokens import image_tokens, max_text_tokens, text_tokens


def image(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


class TestImages:
    @pytest.mark.obligation("26")
    @pytest.mark.parametrize(
        ("size", "v1", "v2"),
        [
            ((224, 224), 1_000, 4_000),
            ((333, 333), 4_000, 4_000),
            ((512, 512), 9_000, 4_000),
            ((600, 600), 9_000, 16_000),
            ((720, 720), 16_000, 16_000),
            ((750, 500), 12_000, 8_000),
            ((896, 896), 16_000, 16_000),
            ((1080, 1080), 25_000, 36_000),
            ((225, 1), 2_000, 4_000),
            ((4000, 3000), 252_000, 192_000),
            ((1, 1), 1_000, 4_000),
        ],
    )
    def test_tiles(self, size: tuple[int, int], v1: int, v2: int) -> None:
        assert image_tokens(size, JINA_CLIP_V1) == v1
        assert image_tokens(size, JINA_CLIP_V2) == v2
        assert estimate_tokens({"image": image(*size)}, model="jina-clip-v1").image_tokens == v1
        assert estimate_tokens({"image": image(*size)}).image_tokens == v2

    @pytest.mark.parametrize("resize", [True, "squash", "crop", "pad"])
    def test_one_tile_when_resized(self, resize: Any) -> None:
        assert estimate_tokens({"image": image(4000, 30)}, resize_images=resize).image_tokens == 4_000

    def test_only_the_header_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "cut.png").write_bytes(image(600, 600)[:60])
        assert estimate_tokens([{"image": tmp_path / "cut.png"}]).image_tokens == 16_000

    def test_all_forms_of_items(self) -> None:
        items = [{"image": Image.new("RGB", (600, 1))}, {"type": "image_url", "image_url": {"url": "data:,"}}]
        with pytest.raises(ImageError) as caught:
            estimate_tokens(items)
        assert caught.value.index == 1
        assert estimate_tokens(items[:1]).image_tokens == 8_000

    def test_urls_are_not_fetched_unasked(self) -> None:
        items = [{"text": "a"}, {"image": "https://images.invalid/a.png?key=secret"}]
        with pytest.raises(ImageError, match=r"sources=SourcePolicy") as caught:
            estimate_tokens(items)
        assert caught.value.index == 1
        assert "secret" not in str(caught.value)
        assert estimate_tokens(items, resize_images=True).image_tokens == 4_000

    def test_urls_that_the_policy_refuses(self) -> None:
        with pytest.raises(ImageError, match="source policy"):
            estimate_tokens({"image": "http://127.0.0.1/a.png"}, sources=SourcePolicy.agent())

    def test_urls_that_may_be_fetched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jina_clip_integrations.images.fetch.fetch", lambda url, *, policy: image(600, 600))
        url = {"image": "https://images.invalid/a.png"}
        assert estimate_tokens(url, sources=SourcePolicy.trusted()).image_tokens == 16_000


class TestTexts:
    def test_a_figure_from_the_vendor(self) -> None:
        assert estimate_tokens({"text": "How is the weather today?"}, model="jina-clip-v1").text_tokens == 8

    @pytest.mark.parametrize("blank", ["", " ", "\n\t "])
    def test_nothing_is_two_tokens(self, blank: str) -> None:
        assert text_tokens(blank, JINA_CLIP_V2) == 2

    def test_english_is_about_a_token_a_word(self) -> None:
        text = (
            "The model was trained in three stages so that a short caption and a long document both come to lie close "
            "to the image that they describe, and every stage used a larger image than the one before"
        )
        words = len(text.split())
        assert 1.0 * words <= text_tokens(text, JINA_CLIP_V1) - 2 <= 1.35 * words

    @pytest.mark.parametrize(
        "text", ["今日は東京の天気がとてもいいです", "오늘은날씨가좋습니다", "วันนี้อากาศดี", "今天天气很好我们去公园"]
    )
    def test_scripts_without_spaces_count_every_character(self, text: str) -> None:
        assert text_tokens(text, JINA_CLIP_V2) == len(text) + 2

    def test_other_alphabets_count_more_for_the_english_model(self) -> None:
        assert text_tokens("Привет", JINA_CLIP_V1) == 6 + 2
        assert text_tokens("Привет", JINA_CLIP_V2) == 3 + 2
        assert text_tokens("Привет東京", JINA_CLIP_V2) == 3 + 2 + 2

    @pytest.mark.parametrize(
        ("text", "tokens"), [("3.14159", 1 + 1 + 3), ("a_b", 3), ("🙂🙂", 2), ("x=1;", 4), ("naïve", 1)]
    )
    def test_code_numbers_and_symbols(self, text: str, tokens: int) -> None:
        assert text_tokens(text, JINA_CLIP_V2) == tokens + 2

    def test_capped_at_what_the_model_reads(self) -> None:
        assert text_tokens("word " * 100_000, JINA_CLIP_V2) == 8192


class TestTheMostThatATextCanCost:
    """The bound that a budget counts with, against both models' own ways of cutting a text into tokens."""

    @pytest.fixture
    def count(self, golden_folder: Path) -> Callable[[str], int]:
        tokenizer = Tokenizer.from_file(str(golden_folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return lambda text: len(tokenizer.encode(text).ids)

    @pytest.mark.obligation("26")
    @settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(text=st.text(max_size=60))
    @example("xqzjkvwpq " * 5)
    @example("aaaa")  # "▁" and every letter for themselves
    @example("½ ㍿ ﷺ 한국어 각 İ")  # characters that a tokenizer takes apart
    def test_no_text_costs_more(self, count: Callable[[str], int], text: str) -> None:
        assert count(text) <= max_text_tokens(text, JINA_CLIP_V2)
        assert text_tokens(text, JINA_CLIP_V1) <= max_text_tokens(text, JINA_CLIP_V1)

    def test_the_model_reads_only_so_much(self) -> None:
        assert max_text_tokens("x" * 10**6, JINA_CLIP_V2) == 8194


class TestEstimate:
    @pytest.mark.obligation("26")
    def test_sums_and_price(self) -> None:
        items = [{"text": "hello"}, {"image": image(5, 5)}, {"text": "world"}]
        estimate = estimate_tokens(items)
        assert asdict(estimate) == {
            "total_tokens": 4_006,
            "text_tokens": 6,
            "image_tokens": 4_000,
            "price_usd": pytest.approx(4_006 * 0.05 / 1_000_000),
        }
        assert estimate_tokens(items, price_usd_per_million=20).price_usd == pytest.approx(0.08012)

    def test_a_million_images_of_one_tile(self) -> None:
        estimate = estimate_tokens({"image": image(512, 512)})
        assert estimate.price_usd * 1_000_000 == pytest.approx(200)

    @pytest.mark.parametrize("nothing", [[], (), iter([])])
    def test_nothing(self, nothing: Any) -> None:
        assert estimate_tokens(nothing).total_tokens == 0

    @pytest.mark.parametrize("model", ["jinaai/jina-clip-v2", "jina-clip-v2", "jina-ai/jina-clip-v2"])
    def test_names_of_a_model(self, model: str) -> None:
        assert estimate_tokens({"image": image(5, 5)}, model=model).image_tokens == 4_000

    @pytest.mark.parametrize("model", ["demo", "clip-vit-b-32", ""])
    def test_models_without_a_price(self, model: str) -> None:
        with pytest.raises(ConfigurationError, match="no price is known"):
            estimate_tokens([], model=model)

    @pytest.mark.parametrize(
        "wrong", [{"resize_images": "shrink"}, {"price_usd_per_million": -1}, {"price_usd_per_million": "free"}]
    )
    def test_settings_that_cannot_work(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            estimate_tokens([], **wrong)

    @pytest.mark.parametrize("wrong", ["hello", b"hello", 3])
    def test_no_items(self, wrong: Any) -> None:
        with pytest.raises(InputError):
            estimate_tokens(wrong)

    def test_bad_items_are_named(self) -> None:
        with pytest.raises(InputError, match="input 1: a text must be a str"):
            estimate_tokens([{"text": "a"}, {"text": 3}])
