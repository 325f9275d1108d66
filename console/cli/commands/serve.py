"""`ucop serve`: the HTTP API, and a worker beside it."""

from __future__ import annotations

import ipaddress
import signal
from typing import Annotated

import typer

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put, put_json
from ...view.place import Place, place_of
from .. import options
from ..logs import show_activity
from .run import open_engine


def serve(
    ctx: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="The address. Default: 127.0.0.1.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="The port; 0 takes a free one. Default: 2024.",
            show_default=False,
        ),
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Start no worker; others run the jobs.")
    ] = False,
    allow_open: Annotated[
        bool,
        typer.Option(
            "--allow-open",
            help="Let everybody in at an address that other machines reach, as long as there is "
            "no key.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Serve the HTTP API, and run queued jobs in a worker process beside it.

    The first Ctrl-C or SIGTERM lets requests and running nodes end.
    """
    place = place_of(ctx)
    show_activity()
    host = host or place.settings.serve.host
    may_be_open = allow_open or _is_loopback(host)
    if not may_be_open:
        _refuse_without_key(place, host)
    raise typer.Exit(
        _serve(place, host, port, may_be_open=may_be_open, with_worker=not no_worker, as_json=json)
    )


def _refuse_without_key(place: Place, host: str) -> None:
    from ucop.engine.reading.reader import NoDatabase
    from ucop.engine.stores.api_keys import is_any

    try:
        with place.reader() as reader:
            if reader.ask(is_any()):
                return
    except NoDatabase:
        pass
    add = place.command("keys add NAME --scope admin")
    raise UsageProblem(
        f"other machines reach {host}, and there is no key: make one with `{add}`, or let "
        "everybody in with --allow-open"
    )


def _serve(
    place: Place,
    host: str,
    port: int | None,
    *,
    may_be_open: bool,
    with_worker: bool,
    as_json: bool,
) -> Exit:
    from ...api.app import make_app
    from ...api.server import AddressTaken, listening, url_of
    from ...api.server import serve as serve_app
    from ...api.worker_process import WorkerProcess

    settings = place.settings.serve
    try:
        listener = listening(host, settings.port if port is None else port)
    except AddressTaken as error:
        raise UsageProblem(str(error)) from None
    with listener, open_engine(place, worker=False) as engine:
        names = [host, *settings.host_names]
        origins = settings.cors_origins
        app = make_app(engine, place, hosts=names, origins=origins, may_be_open=may_be_open)
        worker = WorkerProcess(place, grace=engine.settings.grace) if with_worker else None
        url = url_of(listener)

        def tell() -> None:
            put_json({"url": url, "worker": worker and worker.pid}) if as_json else put(url)
            note("serves until Ctrl-C" + ("" if with_worker else "; no worker was started"))

        try:
            signalled = serve_app(app, listener, ready=tell)
        finally:
            note("stopping")
            if worker is not None:
                worker.stop()
    note("stopped")
    # SIGTERM is how a supervisor stops a server: that is no failure.
    return Exit.OK if signalled == signal.SIGTERM else Exit.INTERRUPTED


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
