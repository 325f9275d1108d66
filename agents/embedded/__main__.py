"""The child process: serves the model until its owner is gone.

Standard input is the lifeline. Its other end is held by the owner alone and closes with
it, however it goes; then this process leaves at once, in whatever state it is. The first
line on standard output is `{"url": …}` or `{"error": …}`.
"""

from __future__ import annotations

import json
import os
import threading

from ..errors import UcopError
from .server import load


def main() -> None:
    threading.Thread(target=_leave_with_owner, daemon=True).start()
    try:
        server = load()
    except (UcopError, OSError, RuntimeError, ImportError, ValueError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        raise SystemExit(1) from error
    print(json.dumps({"url": server.url}), flush=True)
    server.serve_forever()


def _leave_with_owner() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


main()
