"""Interrupts: one and many, in tools, fan-outs, loops and graphs inside, and refused answers."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, asks, chain, counts, does
from tests.twins.twin import Turns, twin
from tests.twins.witness import asaw, saw


@twin()
def one_question() -> Any:
    return chain(does("a"), asks("ask"), does("c"))


@twin(answers={"question": "what", "first?": "1", "second?": 2, "third?": [3, {"x": None}]})
def three_questions_in_one_node() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        await asaw("ask")
        first = interrupt("first?")
        await asaw("after first")
        second = interrupt("second?")
        third = interrupt("third?")
        return {"said": {"first": first, "second": second, "third": third}}

    return chain(ask, does("b"))


@twin()
def the_same_question_twice_in_one_node() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        await asaw("ask")
        return {"log": [str(interrupt("sure?")), str(interrupt("sure?"))]}

    return chain(ask)


@twin(retries=1, answers={"delete the test database?": "yes", "delete PRODUCTION?": "no"})
def an_error_between_two_questions() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        first = interrupt("delete the test database?")
        if await asaw("between") == 1:
            raise ConnectionResetError("once")
        return {"log": [first, interrupt("delete PRODUCTION?")]}

    return chain(ask, does("b"))


@twin(answers={"": False})
def an_answer_that_is_false() -> Any:
    return chain(asks("ask"))


@twin(answers=None)
def an_answer_that_is_null() -> Any:
    return chain(asks("ask"))


@twin(answers={"": {"decision": "approve", "reason": ["a", 1]}})
def an_answer_that_is_an_object() -> Any:
    return chain(asks("ask"))


@twin(answers=Turns(("too short", "short", "long enough now")))
def an_answer_that_the_node_asks_for_again() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        question = "name?"
        while True:
            answer = interrupt(question)
            await asaw(f"got {answer}")
            if len(answer) > 10:
                return {"log": [answer]}
            question = "a longer name?"

    return chain(ask)


@twin(retries=1, answers=Turns(("bad", "good")))
def an_answer_that_makes_the_node_raise() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        answer = interrupt("name?")
        await asaw(f"got {answer}")
        if answer == "bad":
            raise ValueError(f"{answer} is refused")
        return {"log": [answer]}

    return chain(ask, does("b"))


@twin(answers=Turns((0, 1, 2)))
def a_question_in_a_loop() -> Any:
    graph = StateGraph(Log)
    graph.add_node("count", counts("count"))
    graph.add_node("ask", asks("ask", "again?"))
    graph.add_edge(START, "count")
    graph.add_edge("count", "ask")
    graph.add_conditional_edges("ask", lambda s: "count" if s["count"] < 3 else END)
    return graph


@twin(answers={"left?": "L", "right?": "R"})
def questions_of_two_parallel_nodes() -> Any:
    graph = StateGraph(Log)
    for name in ["left", "right"]:
        graph.add_node(name, asks(name))
        graph.add_edge(START, name)
    graph.add_node("end", does("end"))
    graph.add_edge(["left", "right"], "end")
    return graph


@twin(answers={"left?": "L", "right?": "R", "left more?": "LL"}, parallel=True)
def parallel_nodes_of_which_one_asks_twice() -> Any:
    async def left(state: Any) -> dict[str, Any]:
        await asaw("left")
        return {"log": [interrupt("left?"), interrupt("left more?")]}

    graph = StateGraph(Log)
    graph.add_node("left", left)
    graph.add_node("right", asks("right"))
    graph.add_node("end", does("end"))
    for name in ["left", "right"]:
        graph.add_edge(START, name)
    graph.add_edge(["left", "right"], "end")
    return graph


@twin()
def a_question_beside_a_node_that_finishes() -> Any:
    graph = StateGraph(Log)
    graph.add_node("ask", asks("ask"))
    graph.add_node("work", adoes("work"))
    graph.add_node("more", adoes("more"))
    graph.add_edge(START, "ask")
    graph.add_edge(START, "work")
    graph.add_edge("work", "more")
    return graph


@twin(retries=1, once=True)
def a_question_beside_a_node_that_fails_once() -> Any:
    async def fails(state: Any) -> dict[str, Any]:
        if await asaw("fails") == 1:
            raise OSError("once")
        return {"log": ["fails"]}

    graph = StateGraph(Log)
    graph.add_node("ask", asks("ask"))
    graph.add_node("fails", fails)
    graph.add_edge(START, "ask")
    graph.add_edge(START, "fails")
    return graph


@twin(answers={"item 0?": "a", "item 1?": "b", "item 2?": "c"})
def questions_of_a_fan_out() -> Any:
    async def work(state: Any) -> dict[str, Any]:
        await asaw(f"work {state['item']}")
        answer = interrupt(f"item {state['item']}?")
        return {"log": [f"{state['item']} {answer}"]}

    graph = StateGraph(Log)
    graph.add_node("plan", does("plan"))
    graph.add_node("work", work)
    graph.add_node("join", does("join"))
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda s: [Send("work", {"item": n}) for n in range(3)])
    graph.add_edge("work", "join")
    return graph


@twin(answers="same")
def a_fan_out_that_asks_one_question_of_all() -> Any:
    async def work(state: Any) -> dict[str, Any]:
        return {"log": [f"{state['item']} {interrupt('which?')}"]}

    graph = StateGraph(Log)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda s: [Send("work", {"item": n}) for n in range(3)])
    return graph


@twin()
def a_question_in_a_graph_inside() -> Any:
    graph = StateGraph(Log)
    graph.add_node("inside", chain(does("first"), asks("ask"), does("last")).compile())
    graph.add_node("end", does("end"))
    graph.add_edge(START, "inside")
    graph.add_edge("inside", "end")
    return graph


@twin()
def a_question_three_graphs_deep() -> Any:
    deep = chain(asks("ask"), does("deep")).compile()
    middle = chain(does("m"), ("deep", deep)).compile()
    return chain(does("a"), ("middle", middle), does("z"))


@twin(answers={"one?": 1, "two?": 2})
def questions_of_two_graphs_inside_at_once() -> Any:
    graph = StateGraph(Log)
    for name in ["one", "two"]:
        graph.add_node(name, chain(asks(name), does(f"{name} after")).compile())
        graph.add_edge(START, name)
    return graph


@twin()
def a_question_in_a_synchronous_node() -> Any:
    def ask(state: Any) -> dict[str, Any]:
        saw("ask")
        return {"log": [str(interrupt("sync?"))]}

    return chain(does("a"), ask)


@twin(answers={"": "stop"})
def an_answer_that_a_command_follows() -> Any:
    def ask(state: Any) -> Command[Any]:
        return Command(goto="b" if interrupt("go?") == "go" else "c", update={"log": ["asked"]})

    graph = StateGraph(Log)
    graph.add_node("ask", ask, destinations=("b", "c"))
    for name in "bc":
        graph.add_node(name, does(name))
    graph.add_edge(START, "ask")
    return graph


class Form(TypedDict):
    name: str


@twin(answers={"": {"name": "Ada"}})
def a_question_with_an_answer_s_schema() -> Any:
    def ask(state: Any) -> dict[str, Any]:
        answer = interrupt("who?", response_schema=Form)
        return {"text": answer["name"]}

    return chain(ask)


@twin()
def a_question_in_a_try_that_catches_everything() -> Any:
    def ask(state: Any) -> dict[str, Any]:
        try:
            answer = interrupt("caught?")
        except Exception as error:  # LangGraph's own exception is one
            answer = type(error).__name__
        return {"log": [answer]}

    return chain(ask, does("b"))


@twin()
def a_question_that_is_an_object() -> Any:
    return chain(asks("ask", {"question": "which?", "choices": ["a", "b"], "n": 1.5}))


@twin()
def a_question_after_a_write_beside_it() -> Any:
    return chain(does("a", text="written"), asks("ask"), does("c"))


@twin()
def a_question_of_a_deferred_node() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_node("b", does("b"))
    graph.add_node("late", asks("late"), defer=True)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("a", "late")
    graph.add_edge("b", "late")
    return graph
