"""Keys and payloads show nowhere: not in logs, errors, reprs or pickles, and no key goes where it should not."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from jina_clip_integrations import ApiBackend, JinaClipEncoder, errors
from jina_clip_integrations.credentials import KEY_VARIABLES, Key, clean_key, find_key
from jina_clip_integrations.langchain import JinaClipEmbeddings as LangChainEmbeddings
from jina_clip_integrations.llama_index import JinaClipEmbedding as LlamaIndexEmbedding
from tests.backends.remote.faces import FACES, embed, images, numbered, photo, stream, texts
from tests.faulty_server import BODY_FAULTS, KEY, ROW_FAULTS, FaultyServer, Refuse

PRIVATE = "The patient was admitted on Tuesday with a broken ankle."
GATEWAY = "gateway-credential-9f8e7d"


class Secret:
    """What pydantic and others wrap keys in."""

    def __init__(self, value: str) -> None:
        self.value = value

    def get_secret_value(self) -> str:
        return self.value


# Where keys come from


@pytest.mark.obligation("32")
@pytest.mark.parametrize(
    "given",
    [
        KEY, f"  {KEY}\n", f"Bearer {KEY}", f"bearer   {KEY} ", f"BEARER\t{KEY}", Secret(KEY), Secret(f" Bearer {KEY}"),
        lambda: KEY, lambda: Secret(f"{KEY}\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("face", FACES)
def test_ways_to_give_a_key(given: Any, face: str, make: Any, server: FaultyServer) -> None:
    embed(face, make(api_key=given), texts("a"))
    assert server.received[0]["authorization"] == f"Bearer {KEY}"


PASTED = [
    f'"{KEY}"', f"'{KEY}'", f"`{KEY}`", f"\u201c{KEY}\u201d", f"\u2018{KEY}\u2019", f"\u00ab{KEY}\u00bb",
    f' " {KEY}\n" ', f'"Bearer {KEY}"', f"Bearer '{KEY}'", f"'\"{KEY}\"'", f"Authorization: Bearer {KEY}",
    f"authorization:{KEY}", f"JINA_API_KEY={KEY}", f'export JINA_API_KEY="{KEY}"\n', f"\ufeff{KEY}\u200b",
    f"\u202a{KEY}\u202c", f"\u00a0{KEY}\u2028", f"{KEY[:9]}\u200b\u00ad{KEY[9:]}", f"\u2066Bearer\u2069 \u200e'{KEY}'",
]  # fmt: skip
"""What is in people's clipboards and `.env` files."""

HOPELESS = [
    f'"{KEY}', f"{KEY}'", f"\u201c{KEY}", f'"{KEY}","{KEY}"', f"{KEY} {KEY}", f"{KEY[:20]}\n{KEY[20:]}",
    f"{KEY}\x1b[0m", KEY.replace("_", "\uff3f"), KEY[:-1] + "\u0430", KEY[:-1] + "\u2013", KEY[:9] + "\udcff",
    f"{KEY[:9]}...", f"{KEY[:9]}\u2026", f"{KEY[:9]}***{KEY[-4:]}", "\u2022" * 20, "$JINA_API_KEY", "${JINA_API_KEY}",
    "%JINA_API_KEY%", "<your key>", f"Basic {KEY}", f"Bearer {KEY}, {KEY}",
]  # fmt: skip


@pytest.mark.obligation("32")
@pytest.mark.parametrize("given", PASTED, ids=ascii)
@pytest.mark.parametrize("way", ["argument", "environment", "callable", "LangChain", "LlamaIndex", "encoder"])
def test_what_copying_leaves_around_a_key_is_taken_off(
    given: str, way: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_with_key(given, way, server.url, monkeypatch) as embed_text:
        embed_text()
    assert server.received[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.obligation("32")
@pytest.mark.parametrize("given", HOPELESS, ids=ascii)
@pytest.mark.parametrize("way", ["argument", "environment", "callable", "LangChain", "LlamaIndex", "encoder"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(
    given: str, way: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(errors.ConfigurationError, match=r"key|API_KEY") as caught,
        open_with_key(given, way, server.url, monkeypatch) as embed_text,
    ):
        embed_text()
    for text in everything_about(caught.value):
        assert KEY[:9] not in text
    assert server.received == []


@contextmanager
def open_with_key(given: str, way: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """A call that embeds a text over the server at `url`, with a key that came in one way."""
    options: dict[str, Any] = {"base_url": url, "api_key": given}
    match way:
        case "LangChain":
            yield lambda: LangChainEmbeddings(**options).embed_query("a")
        case "LlamaIndex":
            yield lambda: LlamaIndexEmbedding(**options).get_text_embedding("a")
        case "encoder":
            with JinaClipEncoder(backend="api", **options) as encoder:
                yield lambda: encoder.encode_text("a")
        case _:
            if way == "environment":
                monkeypatch.setenv("JINA_API_KEY", given)
                options["api_key"] = None
            if way == "callable":
                options["api_key"] = lambda: given
            with ApiBackend("jina-clip-v2", **options) as backend:
                yield lambda: backend.embed(texts("a"))


@pytest.mark.obligation("32")
@pytest.mark.parametrize("missing", [None, "", "  ", "Bearer", "Bearer ", "*", "**********", " *** ", Secret("")])
@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_the_environment_is_asked_in_order(missing: Any, name: str) -> None:
    place = KEY_VARIABLES.index(name)
    environ = dict.fromkeys(KEY_VARIABLES[:place], "****") | {name: f" {KEY}\n"}
    environ |= dict.fromkeys(KEY_VARIABLES[place + 1 :], "jina_" + "z" * 60)
    assert find_key(missing, environment=True, environ=environ).reveal() == KEY
    assert find_key(missing, environment=False, environ=environ).reveal() is None


@pytest.mark.obligation("32")
@pytest.mark.parametrize("face", FACES)
def test_a_key_of_the_environment_is_sent(
    face: str, make: Any, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    embed(face, make(api_key=None), texts("a"))
    assert server.received[0]["authorization"] == f"Bearer {KEY}"


def test_a_given_key_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", "from-the-environment")
    assert find_key("given", environment=True).reveal() == "given"


@pytest.mark.obligation("4")
@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_a_missing_key_is_an_error_that_names_the_variables(name: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=name):
        ApiBackend("jina-clip-v2")


def test_a_server_of_ones_own_needs_none(make: Any, server: FaultyServer) -> None:
    server.key = None
    make(api_key=None).embed(texts("a"))
    assert "authorization" not in server.received[0]


@pytest.mark.obligation("40")
def test_a_callable_is_asked_before_every_request(make: Any, server: FaultyServer) -> None:
    server.key = None
    tokens = iter(["first", "second", "third"])
    make(api_key=lambda: next(tokens), batch_size=1, max_concurrency=1).embed(texts("a", "b", "c"))
    assert [each["authorization"] for each in server.received] == ["Bearer first", "Bearer second", "Bearer third"]


@pytest.mark.parametrize("returned", [None, "", "***", 7, "a\nb"])
@pytest.mark.parametrize("face", FACES)
def test_a_callable_that_returns_no_key(returned: Any, face: str, make: Any, server: FaultyServer) -> None:
    _, error = stream(face, make(api_key=lambda: returned), texts("a"))
    assert type(error) is errors.ConfigurationError
    assert server.received == []


@pytest.mark.obligation("32")
@pytest.mark.parametrize("face", FACES)
def test_a_callable_that_fails(face: str, make: Any, server: FaultyServer) -> None:
    def locked() -> str:
        raise OSError("the vault is locked")

    _, error = stream(face, make(api_key=locked), numbered(9))
    assert type(error) is errors.ConfigurationError
    assert str(error) == "api_key: the callable raised OSError"
    assert isinstance(error.__cause__, OSError)
    assert server.received == []


@pytest.mark.obligation("32")
@pytest.mark.parametrize("bad", ["clé", "a b", "a\x7fb", "a\x00b", "a\r\nX-Evil: 1"])
def test_keys_that_no_header_could_carry(bad: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        clean_key(bad, source="api_key")
    assert bad not in str(caught.value)


# Where keys go


def sends_to(base_url: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str | None:
    seen: list[str | None] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(404)

    backend = ApiBackend(
        "jina-clip-v2",
        base_url=base_url,
        http_client=httpx.Client(transport=httpx.MockTransport(handle)),
        **options,
    )
    with pytest.raises(errors.InvalidRequestError):
        backend.embed(texts("a"))
    return seen[0]


@pytest.mark.obligation("35")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "box.localhost"])
def test_plain_http_to_this_machine_is_fine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sends_to(f"http://{host}:8080/v1", monkeypatch, api_key=KEY) == f"Bearer {KEY}"


@pytest.mark.obligation("35")
@pytest.mark.parametrize("host", ["example.org", "api.jina.ai", "192.168.1.7", "0.0.0.0", "localhost.example.org"])
def test_plain_http_to_another_machine_is_refused(host: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="https") as caught:
        ApiBackend("jina-clip-v2", base_url=f"http://{host}/v1", api_key=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.obligation("19", "35")
def test_a_key_of_the_environment_stays_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    assert sends_to("http://embedder:7997/v1", monkeypatch) is None
    assert sends_to("https://proxy.example.org/v1", monkeypatch) == f"Bearer {KEY}"


def test_no_credential_follows_a_redirect(make: Any, server: FaultyServer) -> None:
    with FaultyServer() as elsewhere:
        server.faults.append(Refuse(307, b"", {"Location": elsewhere.url + "/embeddings"}))
        with httpx.Client(follow_redirects=True) as client, pytest.raises(errors.ApiError, match="redirect"):
            make(http_client=client).embed(texts("a"))
        assert elsewhere.received == []


def test_the_environment_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    before = dict(os.environ)
    ApiBackend("jina-clip-v2", api_key=KEY)
    assert dict(os.environ) == before


# Where nothing shows


def everything_about(error: BaseException | None) -> Iterator[str]:
    """All that a reporter of errors could write down."""
    while error is not None:
        yield str(error)
        yield repr(error)
        yield "".join(traceback.format_exception(error))
        yield repr(vars(error))
        for held in vars(error).values():
            assert not isinstance(held, (httpx.Request, httpx.Response))
        if isinstance(error, errors.JinaClipError):
            yield pickle.dumps(error).decode("latin-1")
        error = error.__cause__ or error.__context__


ECHOES = [
    Refuse(400, {"detail": f"cannot embed '{PRIVATE}' for {KEY} via {GATEWAY}"}),
    Refuse(401, {"detail": f"Invalid API key Bearer {KEY}", "code": "AUTH_INVALID_API_KEY"}),
    Refuse(422, {"errors": [{"field": "body -> input -> 0", "message": PRIVATE[4:40], "input": PRIVATE}]}),
    Refuse(422, {"detail": [{"loc": ["body", "input", 0], "msg": "bad", "input": PRIVATE}]}),
    Refuse(500, f"Traceback: headers={{'Authorization': 'Bearer {KEY}'}} {PRIVATE}".encode()),
    Refuse(502, f"<html><title>{PRIVATE}</title>{KEY}</html>".encode()),
    Refuse(429, {"error": {"message": f"{KEY} is too fast", "code": KEY}}),
    Refuse(404, {"message": PRIVATE * 40}),
    Refuse(200, {"data": [{"index": 0, "embedding": PRIVATE}]}),
]


@pytest.mark.obligation("19", "21")
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", [*ECHOES, *ROW_FAULTS, *BODY_FAULTS, "stall", None])
@pytest.mark.parametrize("isolate", [False, True])
def test_neither_logs_nor_errors_show_anything(
    fault: Any, isolate: bool, face: str, make: Any, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults.extend([fault] * 3)
    backend = make(max_retries=1, timeout=0.3, headers={"X-Gateway-Token": GATEWAY})
    results, error = stream(face, backend, texts(PRIVATE, isolate_errors=isolate))
    isolated = [each for result in results for each in result.errors.values()]
    shown = [text for each in (error, *isolated) for text in everything_about(each)]
    shown += [record.getMessage() for record in caplog.records] + [caplog.text, repr(backend), str(backend)]
    assert any("jina_clip_integrations" in record.name for record in caplog.records)
    for text in shown:
        assert KEY not in text
        assert GATEWAY not in text
        for at in range(len(PRIVATE) - 14):
            assert PRIVATE[at : at + 14] not in text


@pytest.mark.obligation("21")
@pytest.mark.parametrize("face", FACES)
def test_images_do_not_show_either(
    face: str, make: Any, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    image = photo(20, 20)
    backend = make(max_retries=0)
    server.faults.extend([None])
    embed(face, backend, images(image))
    data = server.requests[0]["input"][0]["image"]
    server.faults.extend([Refuse(400, {"detail": f"no image: {data}"})])
    _, error = stream(face, make(max_retries=0), images(image))
    assert base64.b64decode(data)
    for text in [*everything_about(error), caplog.text]:
        assert data[:20] not in text
        assert data[300:330] not in text


@pytest.mark.obligation("19")
def test_reprs_and_pickles_hold_no_secret() -> None:
    backend = ApiBackend(
        "jina-clip-v2",
        api_key=KEY,
        base_url="https://proxy.example.org/v1?code=hidden-code",
        headers={"X-Gateway-Token": GATEWAY, "Cookie": "session=abc"},
        http_client=httpx.Client(headers={"Authorization": KEY}),
    )
    state = pickle.dumps(backend).decode("latin-1")
    shown = [repr(backend), str(backend), repr(backend._settings), repr(backend._key), backend.cache_identity]
    for text in [*shown, state, repr(backend._transport)]:
        assert KEY not in text
        assert GATEWAY not in text
        assert "session=abc" not in text
    for text in shown:
        assert "hidden-code" not in text
    assert "proxy.example.org" in repr(backend)


@pytest.mark.obligation("19")
def test_a_key_refuses_to_be_pickled() -> None:
    key = Key(KEY, source="api_key")
    assert KEY not in repr(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
