"""`jina-clip verify`: says what is wrong, and by its exit code whether anything is."""

from __future__ import annotations

import json
from typing import Any

from tests.exports import GOLDEN
from tests.verification.test_verify import squash
from tests.verification.wrong_server import WrongModel, serving


def test_a_right_and_a_wrong_server(run: Any) -> None:
    folder = str(GOLDEN / "v2")
    model = WrongModel(folder)
    with serving(model) as url:
        right = run("verify", url, "--model", folder)
        assert right.code == 0
        assert f"{url} computes {folder}" in right.out
        squash(model)
        wrong = run("verify", url, "--model", folder, "--json")
        assert wrong.code != 0
        [finding] = json.loads(wrong.out)["findings"]
        assert finding["name"] == "images are squashed"
        assert "crop the middle square" in finding["advice"]
        other = run("verify", url, "--model", folder, "--against", folder)
        assert "WRONG  images" in other.out


def test_no_server(run: Any) -> None:
    ran = run("verify", "http://127.0.0.1:9", "--model", str(GOLDEN / "v1"))
    assert ran.code != 0
    assert ran.err.count("jina-clip:") == 1
