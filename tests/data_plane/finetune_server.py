"""Runs of the training program that share one start; run by the interpreter of the training image.

To load PyTorch and Transformers takes half a minute, and the tests run the program a dozen times. This process loads
them once. For each line of its input, ``{"config": …, "environment": {…}, "log": …}``, it forks a child that is the
program from there on, and answers with the child's number; when the child ends, with its exit code. With ``source`` in
place of ``config`` the child is that script.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading


def child(asked: dict) -> None:
    """The program, with its own log and environment."""
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(asked["environment"])
    if "source" in asked:
        exec(compile(asked["source"], "a test's source", "exec"), {"__name__": "a_test"})
        sys.stdout.flush()
        os._exit(0)
    from finetune.__main__ import main

    code = main(["--config", json.dumps(asked["config"])])
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    """Answer line by line."""
    # What takes the time; a child that had to load it would do so again for each run.
    import finetune.program
    import finetune.tracking  # noqa: F401 - MLflow's client
    import transformers.models.llama.modeling_llama  # noqa: F401

    lock = threading.Lock()

    def say(**facts: object) -> None:
        with lock:
            print(json.dumps(facts), flush=True)

    def wait(number: int) -> None:
        _, status = os.waitpid(number, 0)
        say(ended=number, code=os.waitstatus_to_exitcode(status))

    say(ready=True)
    for line in sys.stdin:
        asked = json.loads(line)
        number = os.fork()
        if number == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                child(asked)
            except SystemExit as stop:
                os._exit(int(stop.code or 0))
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(99)
        say(started=number)
        threading.Thread(target=wait, args=(number,), daemon=True).start()


if __name__ == "__main__":
    main()
