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
    json: options.Json = False,
) -> None:
    """Serve the HTTP API, and run queued jobs in a worker process beside it.

    The first Ctrl-C or SIGTERM lets requests and running nodes end.
    """
    place = place_of(ctx)
    show_activity()
    raise typer.Exit(_serve(place, host, port, with_worker=not no_worker, as_json=json))


def _serve(
    place: Place, host: str | None, port: int | None, *, with_worker: bool, as_json: bool
) -> Exit:
    from ...api.app import make_app
    from ...api.server import AddressTaken, listening, url_of
    from ...api.server import serve as serve_app
    from ...api.worker_process import WorkerProcess

    settings = place.settings.serve
    host = host or settings.host
    if not _is_loopback(host):
        raise UsageProblem(f"{host} can be reached from other machines, and there is no key yet")
    try:
        listener = listening(host, settings.port if port is None else port)
    except AddressTaken as error:
        raise UsageProblem(str(error)) from None
    with listener, open_engine(place, worker=False) as engine:
        app = make_app(
            engine, place, hosts=[host, *settings.host_names], origins=settings.cors_origins
        )
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
