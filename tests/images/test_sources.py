"""Where images may come from: what a policy allows, and how it shows what it refuses."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ConfigurationError, ImageError, SourcePolicy
from jina_clip_integrations.images.sources import show_url
from jina_clip_integrations.inputs import InputParser

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(4, 5, 3)
_buffer = io.BytesIO()
Image.fromarray(PIXELS).save(_buffer, "PNG")
PNG = _buffer.getvalue()


class TestAgentPolicy:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "outside.png").write_bytes(PNG)
        root = tmp_path / "root"
        (root / "inner").mkdir(parents=True)
        (root / "a.png").write_bytes(PNG)
        (root / "inner" / "b.png").write_bytes(PNG)
        return root

    def opened(self, path: Any, policy: SourcePolicy) -> Any:
        return np.asarray(InputParser(sources=policy).image(path).open())

    def test_files_inside(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        policy = SourcePolicy.agent(root)
        monkeypatch.chdir(root)
        (root / "link.png").symlink_to(root / "inner" / "b.png")
        inside = [
            root / "a.png",
            str(root / "inner" / "b.png"),
            "a.png",
            "inner/../a.png",
            "link.png",
            f"file://{root}/a.png",
        ]
        for path in inside:
            np.testing.assert_array_equal(self.opened(path, policy), PIXELS)

    def test_files_outside(self, root: Path, tmp_path: Path) -> None:
        policy = SourcePolicy.agent(roots=[root])
        (root / "escape.png").symlink_to(tmp_path / "outside.png")
        (root / "up").symlink_to(tmp_path)
        (tmp_path / "root2").mkdir()
        (tmp_path / "root2" / "a.png").write_bytes(PNG)
        outside = ["../outside.png", "../nowhere.png", "escape.png", "up/outside.png", "../root2/a.png"]
        for path in [*(root / path for path in outside), f"file://{tmp_path}/outside.png", "~/a.png", "/dev/zero"]:
            with pytest.raises(ImageError, match="outside the folders"):
                self.opened(path, policy)

    @pytest.mark.obligation("20")
    def test_without_roots_no_file_at_all(self, root: Path) -> None:
        with pytest.raises(ImageError, match="does not allow files"):
            self.opened(root / "a.png", SourcePolicy.agent())

    def test_a_root_given_by_a_link_counts_as_what_it_is(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "alias").symlink_to(root)
        policy = SourcePolicy.agent(tmp_path / "alias")
        np.testing.assert_array_equal(self.opened(root / "a.png", policy), PIXELS)
        np.testing.assert_array_equal(self.opened(tmp_path / "alias" / "a.png", policy), PIXELS)

    def test_a_link_that_appears_after_the_check_is_not_followed(self, root: Path, tmp_path: Path) -> None:
        policy = SourcePolicy.agent(root)
        (root / "swapped.png").symlink_to(tmp_path / "outside.png")
        object.__setattr__(policy, "_inside_roots", lambda path: Path(path))  # as if the check had come before
        with pytest.raises(ImageError):
            self.opened(root / "swapped.png", policy)

    @pytest.mark.parametrize("url", ["http://example.org/a.png", "HTTP://example.org/a.png", "ftp://example.org/a.png"])
    def test_https_only(self, url: str) -> None:
        with pytest.raises(ImageError, match=r"does not allow this URL|is not fetched here"):
            InputParser(sources=SourcePolicy.agent()).image(url)

    def test_no_user_names(self) -> None:
        with pytest.raises(ImageError, match="user name") as caught:
            InputParser(sources=SourcePolicy.agent()).image("https://user:pass@example.org/a.png")
        assert "pass@" not in str(caught.value)

    def test_data_uris_can_be_turned_off_and_are_limited(self) -> None:
        uri = "data:image/png;base64," + "A" * 4000
        with pytest.raises(ImageError, match="does not allow data URIs"):
            InputParser(sources=SourcePolicy.agent(data_uris=False)).image(uri)
        with pytest.raises(ImageError, match="max_bytes"):
            InputParser(sources=SourcePolicy.agent(max_bytes=1000)).image(uri)

    def test_large_files(self, root: Path) -> None:
        with pytest.raises(ImageError, match="max_bytes"):
            self.opened(root / "a.png", SourcePolicy.agent(root, max_bytes=10))


class TestPolicyItself:
    def test_unknown_fields(self) -> None:
        for make in (SourcePolicy.trusted, SourcePolicy.agent):
            with pytest.raises(ConfigurationError, match=r"max_byte'.*Did you mean 'max_bytes'"):
                make(max_byte=3)

    @pytest.mark.parametrize(
        "changes",
        [
            {"schemes": ("ftp",)},
            {"schemes": "https"},
            {"max_bytes": 0},
            {"max_bytes": True},
            {"max_pixels": -1},
            {"timeout": 0},
            {"timeout": "30"},
            {"timeout": float("nan")},
            {"timeout": float("inf")},
            {"max_retries": -1},
            {"max_redirects": 1.5},
            {"public_only": "false"},
            {"direct_only": 0},
            {"paths": None},
        ],
    )
    def test_values_that_cannot_work(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            SourcePolicy.trusted(**changes)

    def test_equality_and_pickling(self, tmp_path: Path) -> None:
        policy = SourcePolicy.agent(tmp_path)
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert policy != SourcePolicy.agent()
        assert hash(policy) == hash(SourcePolicy.agent([str(tmp_path)]))
        assert SourcePolicy.trusted() != SourcePolicy()
        assert SourcePolicy.trusted() == SourcePolicy(public_only=False)

    def test_roots_are_fixed_when_the_policy_is_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        policy = SourcePolicy.agent("uploads")
        monkeypatch.chdir(os.sep)
        assert policy.roots == (tmp_path.resolve() / "uploads",)

    def test_one_folder_is_enough_for_roots(self, tmp_path: Path) -> None:
        for roots in (tmp_path, str(tmp_path), [tmp_path], (str(tmp_path),)):
            assert SourcePolicy(roots=roots).roots == (tmp_path.resolve(),)
            assert SourcePolicy.trusted(roots=roots).roots == (tmp_path.resolve(),)

    def test_what_each_policy_means(self) -> None:
        default, trusted, agent = SourcePolicy(), SourcePolicy.trusted(), SourcePolicy.agent()
        assert (default.paths, default.roots, default.schemes) == (True, None, ("https", "http"))
        assert [policy.public_only for policy in (default, trusted, agent)] == [True, False, True]
        assert [policy.direct_only for policy in (default, trusted, agent)] == [False, False, True]
        assert (agent.paths, agent.schemes, agent.hard_links) == (False, ("https",), False)

    def test_which_urls_a_service_may_fetch(self) -> None:
        url = "https://example.org/a.png"
        for policy, left in ((SourcePolicy(), url), (SourcePolicy.trusted(), url), (SourcePolicy.agent(), None)):
            assert InputParser(sources=policy).image(url).url == left
        with pytest.raises(ImageError, match="public addresses only"):
            InputParser().image("http://10.0.0.1/a.png")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://user:pass@example.org:8443/a.png?sig=1#x", "https://example.org:8443/a.png"),
            ("https://[2606:4700::1111]/a", "https://[2606:4700::1111]/a"),
            ("https://[::1", "a malformed URL"),
            ("https://example.org:x/a", "a malformed URL"),
        ],
    )
    def test_shown_urls(self, url: str, shown: str) -> None:
        assert show_url(url) == shown

    def test_long_urls_are_shortened(self) -> None:
        assert len(show_url("https://example.org/" + "a" * 5000)) == 200
