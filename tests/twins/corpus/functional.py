"""The functional API: @entrypoint and @task."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.types import CachePolicy, RetryPolicy, interrupt

from tests.twins.twin import Again, twin
from tests.twins.witness import asaw, saw

QUICK = RetryPolicy(initial_interval=0.001, max_interval=0.002, jitter=False, max_attempts=3)


@task
def double(n: int) -> int:
    saw(f"double {n}")
    return 2 * n


@task
async def triple(n: int) -> int:
    await asaw(f"triple {n}")
    return 3 * n


@twin(input={"n": 4})
def an_entrypoint() -> Any:
    @entrypoint()
    def flow(given: dict[str, Any]) -> dict[str, Any]:
        saw("flow")
        return {"twice": double(given["n"]).result()}

    return flow


@twin(input={"n": 4})
def an_asynchronous_entrypoint() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> dict[str, Any]:
        await asaw("flow")
        return {"thrice": await triple(given["n"])}

    return flow


@twin(input={"n": 3})
def tasks_at_once() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> list[int]:
        return list(await asyncio.gather(*(triple(n) for n in range(given["n"]))))

    return flow


@twin(input={"n": 3})
def synchronous_tasks_at_once() -> Any:
    @entrypoint()
    def flow(given: dict[str, Any]) -> list[int]:
        begun = [double(n) for n in range(given["n"])]
        return [each.result() for each in begun]

    return flow


@twin(input=5)
def an_entrypoint_that_takes_a_number() -> Any:
    @entrypoint()
    async def flow(n: int) -> int:
        return await triple(n)

    return flow


@twin(input="text")
def an_entrypoint_that_takes_a_text() -> Any:
    @entrypoint()
    async def flow(text: str) -> str:
        return text.upper()

    return flow


@twin(input={"n": 1})
def an_entrypoint_that_asks() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> str:
        first = await triple(given["n"])
        answer = interrupt(f"use {first}?")
        await asaw("after")
        return f"{answer} {await triple(first)}"

    return flow


@twin(input={"n": 1})
def a_task_that_asks() -> Any:
    @task
    async def ask(n: int) -> str:
        await asaw("ask")
        return f"{n} {interrupt('task?')}"

    @entrypoint()
    async def flow(given: dict[str, Any]) -> list[str]:
        return [await ask(1), await ask(2)]

    return flow


@twin(input={"n": 1}, answers={"task 0?": "a", "task 1?": "b"}, once=True)  # who is faster
def tasks_that_ask_at_once() -> Any:
    @task
    async def ask(n: int) -> str:
        await asaw(f"ask {n}")
        return f"{n} {interrupt(f'task {n}?')}"

    @entrypoint()
    async def flow(given: dict[str, Any]) -> list[str]:
        return list(await asyncio.gather(ask(0), ask(1)))

    return flow


@twin(input={"n": 1})
def a_synchronous_entrypoint_that_asks() -> Any:
    @entrypoint()
    def flow(given: dict[str, Any]) -> str:
        first = double(given["n"]).result()
        return f"{first} {interrupt('sync?')}"

    return flow


@twin(input={"n": 1}, then=(Again({"n": 2}), Again({"n": 3})))
def what_the_last_run_returned() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any], *, previous: Any = None) -> dict[str, Any]:
        return {"sum": given["n"] + (previous or {"sum": 0})["sum"]}

    return flow


@twin(input={"n": 1}, then=(Again({"n": 2}),))
def a_value_for_the_next_run_only() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any], *, previous: Any = None) -> Any:
        return entrypoint.final(value=previous, save=given["n"] * 10)

    return flow


@twin(input={"n": 1})
def an_entrypoint_that_fails() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> int:
        await triple(1)
        raise ValueError("no result")

    return flow


@twin(input={"n": 1}, retries=1)
def tasks_that_are_done_are_not_repeated() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> int:
        first = await triple(1)
        if await asaw("flow") == 1:
            raise OSError("once")
        return first + await triple(2)

    return flow


@twin(input={"n": 1})
def a_task_with_a_retry_policy() -> Any:
    async def fails_twice(n: int) -> int:
        if await asaw("shaky") < 3:
            raise ConnectionError("reset")
        return n

    # LangGraph's types of `task` with options take no coroutine function.
    retried: Any = task(retry_policy=QUICK)
    shaky = retried(fails_twice)

    @entrypoint()
    async def flow(given: dict[str, Any]) -> int:
        return int(await shaky(7))

    return flow


@twin(input={"n": 1})
def a_task_that_fails_and_is_caught() -> Any:
    @task
    async def bad() -> int:
        await asaw("bad")
        raise ValueError("caught")

    @entrypoint()
    async def flow(given: dict[str, Any]) -> str:
        try:
            await bad()
        except ValueError as error:
            return f"caught {error}"
        return "not caught"

    return flow


@twin(input={"n": 1}, once=True)
def a_task_with_a_cache() -> Any:
    async def square(n: int) -> int:
        await asaw(f"costly {n}")
        return n * n

    cached: Any = task(cache_policy=CachePolicy())
    costly = cached(square)

    @entrypoint(cache=InMemoryCache())
    async def flow(given: dict[str, Any]) -> list[int]:
        return [await costly(3), await costly(3), await costly(4)]

    return flow


@twin(input={"n": 1})
def a_task_that_calls_a_task() -> Any:
    @task
    async def outer(n: int) -> int:
        await asaw("outer")
        return await triple(n) + 1

    @entrypoint()
    async def flow(given: dict[str, Any]) -> int:
        return await outer(2)

    return flow


@twin(input={"n": 1})
def a_loop_over_tasks() -> Any:
    @entrypoint()
    async def flow(given: dict[str, Any]) -> int:
        n = given["n"]
        while n < 50:
            n = int(await triple(n))
        return int(n)

    return flow
