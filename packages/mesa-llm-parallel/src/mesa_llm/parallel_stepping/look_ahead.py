"""Looking ahead: the rest of a step, run on a throw-away copy of the model.

Nothing of a look stays. Python's and numpy's global generators are put back; standard output, logging and warnings are
silent; and what reaches beyond the process (files opened for writing, connections, programs) ends the agent's look.
Not covered are files and connections that are open already, native code, and what a step writes into modules: code of
a user's own asks `looking_ahead()`.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mesa_llm.activation.call import begin_agent_step
from mesa_llm.activation.context import LookEnded, Running, looking_ahead, within
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping.answers import AnswersInLook
from mesa_llm.parallel_stepping.memo import Memo
from mesa_llm.parallel_stepping.world_copy import WorldCopy

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.activation.call import AgentStep


class LookAhead:
    """Looks ahead in one step, from copies of the model as it was before a turn.

    Args:
        model: the model.
        agent_set: whose agents step; an agent that has left it is not stepped.
        method: what they do.
        args: passed on.
        kwargs: passed on.
        memo: the answers known.

    Attributes:
        looks: begin and end of each look, in seconds since the step began.
        copy_s: seconds that the copies took.
        errors: how often an agent raised in a look.
    """

    def __init__(
        self,
        model: Model[Any, Any],
        agent_set: Any,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        memo: Memo,
    ) -> None:
        self._model = model
        self._agent_set = agent_set
        self._method = method
        self._arguments = args, kwargs
        self._memo = memo
        self._world: WorldCopy | None = None
        self._counts = memo.counts()
        self.looks: list[tuple[float, float]] = []
        self.errors = 0
        self.copy_s = 0.0

    def remember(self, agents: Sequence[Agent | None]) -> None:
        """Make the model as it is now the one from which looks begin.

        Args:
            agents: the agents to come, in order; `None` in the place of one that is gone.

        Raises:
            CannotCopyError: if the model cannot be copied.
        """
        with self._timed():
            self._world = WorldCopy(self._model, self._agent_set, list(agents), *self._arguments)
        self._counts = self._memo.counts()

    def forget(self) -> None:
        """Look no more until `remember` is called again."""
        self._world = None

    def rest_s(self) -> float:
        """Seconds until the next look within a turn: as long as the last one took, so that half the time is left."""
        if not self.looks:
            return 0.0
        began, ended = self.looks[-1]
        return ended + (ended - began) - self._memo.now()

    @property
    def can_look(self) -> bool:
        """Whether there is something to look from."""
        return self._world is not None

    def look(self, window: float) -> int:
        """Run the rest of the step.

        Args:
            window: for how many agents calls are asked ahead although somebody whom they see is undecided.

        Returns:
            How many agents, from the first one on, have done on the copy exactly what they will do.
        """
        assert self._world is not None
        began = self._memo.now()
        with self._timed():
            _, (agent_set, agents, args, kwargs) = self._world.make()
        answers = AnswersInLook(self._memo, self._model, self._counts, window)
        references = [_gone if agent is None else weakref.ref(agent) for agent in agents]
        del agents  # Mesa keeps those that have left alive no longer than others do
        n_exact = 0
        with (
            _no_effects(),
            within(answers=answers, turn=None, agent_step=None, deciding=None, stepping=None, call=None),
        ):
            for place, reference in enumerate(references):
                agent = reference()
                if agent is not None and agent in agent_set:
                    answers.begin(agent.unique_id, is_near=place < window)
                    self._step(agent, answers, args, kwargs)
                n_exact += answers.is_exact
        self.looks.append((began, self._memo.now()))
        return n_exact

    def _step(self, agent: Agent, answers: AnswersInLook, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        failed = False
        try:
            step_agent(agent, own_step_of(agent, self._method), self._method, args, kwargs)
        except LookEnded:
            answers.missed = True
        except Exception:
            self.errors += not answers.missed  # a guess may lead anywhere
            failed = True
        if answers.missed or answers.is_doubtful or failed:
            answers.undecided.add(agent.unique_id)
        if answers.missed or failed:
            answers.is_exact = False

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.copy_s += time.perf_counter() - began


def _gone() -> None:
    return None


def own_step_of(agent: Agent, method: str) -> AgentStep | None:
    """The step of its own that an agent begins; `None` where plain Mesa counts none."""
    return begin_agent_step(agent) if method == "step" and isinstance(agent, LLMAgent) else None


def step_agent(
    agent: Agent, agent_step: AgentStep | None, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Let an agent do what Mesa would have it do. Its calls get the identity that they have in plain Mesa."""
    own: Running = {} if agent_step is None else {"agent_step": agent_step}
    with within(**own):
        getattr(agent, method)(*args, **kwargs)


# What must not happen while agents look ahead.

_BEYOND = frozenset(
    {
        "ftplib.connect",
        "os.chmod",
        "os.chown",
        "os.exec",
        "os.fork",
        "os.kill",
        "os.link",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.spawn",
        "os.startfile",
        "os.symlink",
        "os.system",
        "os.truncate",
        "os.utime",
        "shutil.copyfile",
        "shutil.move",
        "shutil.rmtree",
        "smtplib.connect",
        "socket.bind",
        "socket.connect",
        "socket.sendto",
        "sqlite3.connect",
        "subprocess.Popen",
        "tempfile.mkdtemp",
        "tempfile.mkstemp",
        "urllib.Request",
        "webbrowser.open",
    }
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _audit(event: str, args: tuple[Any, ...]) -> None:
    """Ends the look of an agent that reaches beyond the process."""
    if event == "open":
        path, _, flags = args
        if not (isinstance(flags, int) and flags & _WRITES) or ".pyc" in str(path) or str(path) == os.devnull:
            return
    elif event not in _BEYOND or (event == "os.mkdir" and str(args[0]).endswith("__pycache__")):  # of an import
        return
    if looking_ahead():
        raise LookEnded(event)


class _Silence:
    """Silences output, logging and warnings of code that looks ahead, while anybody does. Other code is not touched."""

    def __init__(self) -> None:
        self._changing = threading.Lock()  # protects what follows: several models may step on threads of their own
        self._looks = 0
        self._is_audited = False
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def __enter__(self) -> None:
        with self._changing:
            self._looks += 1
            if self._looks > 1:
                return
            if not self._is_audited:
                sys.addaudithook(_audit)  # cannot be taken away again
                self._is_audited = True
            for owner, name in _VOICES:
                self._replace(owner, name, _silenced(getattr(owner, name)))
            for name in ("stdout", "stderr"):
                if getattr(sys, name) is not None:
                    self._replace(sys, name, _Muted(getattr(sys, name)))

    def __exit__(self, *exception: object) -> None:
        with self._changing:
            self._looks -= 1
            while not self._looks and self._replaced:
                owner, name, own, before = self._replaced.pop()
                if getattr(owner, name) is own:  # else somebody has replaced it meanwhile
                    setattr(owner, name, before)

    def _replace(self, owner: Any, name: str, own: Any) -> None:
        self._replaced.append((owner, name, own, getattr(owner, name)))
        setattr(owner, name, own)


_VOICES: tuple[tuple[Any, str], ...] = (
    (logging.Logger, "callHandlers"),
    (warnings, "warn"),  # not by filters: what was warned of once in a look would not be warned of again
    (warnings, "warn_explicit"),
)


def _silenced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def silenced(*args: Any, **kwargs: Any) -> Any:
        return None if looking_ahead() else function(*args, **kwargs)

    return silenced


class _Muted:
    """A text stream that does not hear code which looks ahead."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless the calling code looks ahead."""
        return len(text) if looking_ahead() else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_silence = _Silence()


@contextmanager
def _no_effects() -> Iterator[None]:
    """Keep everything outside of the copy as it is, in the code that this thread runs now."""
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with _silence:
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
