"""A process that has imported a program, and runs it again and again, each time in a fork of itself.

    python tests/forking.py PROGRAM < calls > exit codes

Most of a program's start is the import of its libraries. A fork has them already, and is otherwise as new as a process
of its own. A call is a line of JSON: `arguments`, `folder` to run in, and files for `stdin`, `stdout` and `stderr`.
"""

import importlib
import json
import os
import sys
from importlib.metadata import entry_points


def serve(name: str) -> None:
    (script,) = entry_points(group="console_scripts", name=name)
    main = script.load()
    importlib.import_module(f"{script.module.partition('.')[0]}.predict")  # the network, which arguments alone need not
    for line in sys.stdin:
        call = json.loads(line)
        if (child := os.fork()) == 0:
            become(call)
            sys.argv = [name, *call["arguments"]]
            sys.exit(main())
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(call: dict) -> None:
    """Take the folder and the files of a call."""
    os.chdir(call["folder"])
    for descriptor, stream in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if stream == "stdin" else os.O_WRONLY
        os.dup2(os.open(call[stream], flags), descriptor)
    sys.stdin = open(0, encoding="utf-8")  # the other one may have read ahead  # noqa: SIM115


if __name__ == "__main__":
    serve(sys.argv[1])
