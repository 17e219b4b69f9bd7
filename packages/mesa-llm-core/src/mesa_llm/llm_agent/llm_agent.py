"""An agent that observes, asks a language model what to do, and does it."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from mesa import Agent

from mesa_llm.actions import ActionManager
from mesa_llm.actions.action_manager import ActionRef
from mesa_llm.activation import my_turn, wait_my_turn
from mesa_llm.activation.context import AwaitedWrites, turn_in
from mesa_llm.activation.mesa_model import steps_on
from mesa_llm.activation.method_pairs import own_method
from mesa_llm.activation.values import name_of
from mesa_llm.errors import ConfigurationError
from mesa_llm.llm_agent import arguments, messages, step_hooks
from mesa_llm.llm_agent.acting import Acting
from mesa_llm.llm_agent.observe import check_names, check_vision, observe
from mesa_llm.memory import Memory, STLTMemory
from mesa_llm.memory.memory import can_remember, remember
from mesa_llm.module_llm import ModuleLLM, SamplingOptions, ToolMode
from mesa_llm.module_llm.request_fields import check_most_calls, check_tool_choice
from mesa_llm.reasoning import Observation, Plan, Reasoning
from mesa_llm.recording import SimulationRecorder
from mesa_llm.tools import ToolManager
from mesa_llm.tools.tool_decorator import INHERIT, Inherit, ToolSelection

if TYPE_CHECKING:
    from mesa import Model
    from mesa.agent import AgentSet
    from pandas import DataFrame

    from mesa_llm.clients import LLMClient, LLMRequest, ToolChoice
    from mesa_llm.llm_agent.messages import Recipients
    from mesa_llm.module_llm.connect import Transport
    from mesa_llm.tools import ToolResult

DEFAULT_MODEL = "gemini/gemini-2.0-flash"

_OWN = {"llm": "ModuleLLM", "memory": "memory", "tool_manager": "tools", "reasoning": "reasoning"}
"""What the constructor makes for each agent."""

_warned_of_no_prompt: weakref.WeakSet[type[LLMAgent]] = weakref.WeakSet()


class LLMAgent(Acting, Agent):
    """A Mesa agent whose decisions come from a language model.

    Its `step` (and `astep`) observes, makes a plan and carries it out. Override one or both of them, for instance to
    choose an action by `act`; a class that overrides only one runs that one in every mode. Combine it with Mesa's own
    agent classes to place it in a space: `class Citizen(LLMAgent, CellAgent)`. Arguments of the other class are given
    as keywords: `super().__init__(model, CoTReasoning, space=space)` in a `class Flier(LLMAgent,
    ContinuousSpaceAgent)`. The bases may come in either order.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning import OneCallReasoning
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM("I rest.")  # or llm_model="openai/gpt-4o-mini" instead of client=
    villager = LLMAgent(Model(), OneCallReasoning, client=llm, step_prompt="What do you do today?")
    villager.step()
    print([entry.type for entry in villager.memory.entries])
    #> ['observation', 'plan']
    ```

    Args:
        model: the Mesa model that the agent belongs to.
        reasoning: the strategy by which it decides, as a class.
        llm_model: the language model, as `provider/model`; `None` for the default.
        system_prompt: who the agent is, in words; part of every prompt.
        vision: how far it sees other agents, in the units of its space (cells, edges or distance); 0 or `None` for
            nobody, -1 for everybody.
        internal_state: what it knows about itself: a list of facts, a mapping, a dataclass, one text, or anything that
            can be printed. Lists, dicts and sets are copied, those in them too. Agents that see it see this too, except
            for entries whose name begins with an underscore.
        step_prompt: what it decides in each step. Without one, the `step` of this class does nothing.
        api_base: the base URL of the model's server, if it is not the provider's own.
        client: the client that answers, see `connect`; by default one that reaches any provider, shared by all agents.
        tools: the tools it may use in plans: functions, and the names of those that are declared with a plain `@tool`;
            `None` or `[]` for none. By default all that are declared so, or none if `actions` are given.
        actions: the actions that it can choose from, see `act`: functions declared with `@action`, and their names.
        memory: makes its memory, given the agent; by default (or with `None`) an `STLTMemory`, which remembers the last
            steps word for word, and from the eighth step on has the model sum up older ones: one call every two steps.
        api_key: the key; by default that of the provider's environment variable.
        transport: how the default client reaches the model: `direct`, `litellm` or `auto`.
        tool_mode: how it calls tools: `native`, `json_schema` for models that have no tool calling, or `auto`. It
            chooses an action by a tool call with `native`, and otherwise by a JSON object.
        tool_calls: whether a decision may (`auto`), must (`required`) or must not (`none`) call tools.
        max_tool_calls: how many tools a decision may call at most; `None` for any number. With `required` and 1, each
            decision is exactly one valid call, or a `DecisionError`.
        **sampling: `temperature`, `top_p`, `max_tokens` (or `max_completion_tokens`), `seed`, `stop`, `extra_body`:
            sent with every request; see `SamplingOptions`. Other keywords are handed on to the constructors of the
            other bases of the agent's class.

    A class can define `vision`, `internal_state`, `step_prompt`, `system_prompt`, `tool_calls` and `max_tool_calls`
    itself, as an attribute or as a property; an argument takes precedence over an attribute. A property is evaluated
    whenever it is used, `internal_state` each time an agent observes this one, so that nothing has to be written before
    a decision.

    Attributes:
        visible_attributes: the attributes that other agents see, declared by the class: `("wealth", "mood")`. Those of
            its bases are visible too. Any class of agents can declare them, also one that asks no model. The agent
            itself sees them as well; if the name begins with an underscore, it alone does.
        observed_layers: the property layers of its grid that the agent sees, of its own cell and within its vision (of
            its own cell only where it sees everybody), and `"room"`, how many more agents a cell takes. `None`: all
            layers whose name does not begin with an underscore, and the room of occupied cells that take more than one
            agent; `()`: nothing.
        llm_instructions: texts that replace instructions of its strategy, its actions and its memory, by the names in
            `mesa_llm.reasoning.INSTRUCTIONS`. A model can have such a dict for all of its agents.
        explains_positions: whether the system message of a decision says which number of a position is which in the
            agent's space, and what each direction does to it. A class that says so in its own words sets `False`.

    Raises:
        ConfigurationError: if `reasoning`, `llm_model`, `tool_mode`, `vision` or a sampling argument cannot work, or an
            argument is given for what the class defines as a property without a setter; if there is no action of a
            name.
        TypeError: if neither `LLMAgent` nor another base takes one of the keywords, or something in `actions` is no
            action.
    """

    visible_attributes: ClassVar[Collection[str]]
    observed_layers: Collection[str] | None = None
    llm_instructions: Mapping[str, str] = MappingProxyType({})
    explains_positions: bool = True
    vision: float | None = None
    internal_state: Any = None
    step_prompt: str | None = None
    tool_calls: ToolChoice = "auto"
    max_tool_calls: int | None = None
    model: Model[Any, Any]
    _recorder: SimulationRecorder | None = None

    @arguments.with_kept_arguments
    def __init__(
        self,
        model: Model[Any, Any],
        reasoning: type[Reasoning],
        llm_model: str | None = DEFAULT_MODEL,
        system_prompt: str | None = None,
        vision: float | None = None,
        internal_state: Any = None,
        step_prompt: str | None = None,
        api_base: str | None = None,
        tools: ToolSelection = INHERIT,
        actions: ActionRef | list[ActionRef] | tuple[ActionRef, ...] | None = None,
        *,
        client: LLMClient | None = None,
        memory: Callable[[LLMAgent], Memory] | None = STLTMemory,
        api_key: str | None = None,
        transport: Transport = "auto",
        tool_mode: ToolMode = "auto",
        tool_calls: ToolChoice | None = None,
        max_tool_calls: int | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> None:
        others: dict[str, Any] = {
            name: sampling.pop(name)  # type: ignore[misc] # no sampling argument
            for name in list(sampling)
            if name not in SamplingOptions.__annotations__
        }
        if not callable(reasoning):
            raise ConfigurationError(f"reasoning must be a class of reasoning, e.g. CoTReasoning, got {reasoning!r}.")
        for name, kept in _OWN.items():
            if arguments.is_fixed(type(self), name):
                raise ConfigurationError(
                    f"{type(self).__name__} defines {name} as a property without a setter, but LLMAgent keeps the "
                    f"agent's own {kept} there. Give the property a setter, or another name."
                )
        if isinstance(tools, Inherit):  # mesa-llm 0.3 knows no actions, and offers every tool
            tools = None if actions is None else ()
        elif tools is None:
            tools = ()
        action_manager, tool_manager = ActionManager(actions), ToolManager(tools)
        check_vision(vision, of=type(self).__name__)
        arguments.hand_on(self, model, others)
        try:
            self.action_manager = action_manager
            self.tool_manager = tool_manager
            self.llm = ModuleLLM(
                DEFAULT_MODEL if llm_model is None else llm_model,
                api_base=api_base,
                client=client,
                api_key=api_key,
                transport=transport,
                tool_mode=tool_mode,
                **sampling,
            )
            self.llm.agent = self
            self._set("system_prompt", system_prompt)
            self.memory: Memory = (STLTMemory if memory is None else memory)(self)
            self._set("vision", vision)
            self._set("step_prompt", step_prompt)
            self._set("tool_calls", check_tool_choice(tool_calls))
            self._set("max_tool_calls", check_most_calls(max_tool_calls))
            self.reasoning = reasoning(agent=self)
            defined = inspect.getattr_static(type(self), "internal_state")
            if internal_state is None and not hasattr(defined, "__get__"):
                internal_state = [] if defined is None else defined
            self._set("internal_state", arguments.as_facts(internal_state))
        except BaseException:
            super().remove()  # otherwise the model would step half an agent
            raise

    def _set(self, name: str, value: Any) -> None:
        """Set an attribute if a value is given; otherwise the class's own definition stands."""
        if value is None:
            return
        if arguments.is_fixed(type(self), name):
            raise ConfigurationError(
                f"{type(self).__name__} defines {name} as a property, so it cannot be given as an argument too, got "
                f"{value!r}. Leave the argument out, or give the property a setter."
            )
        setattr(self, name, value)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_names(cls, "visible_attributes")
        check_names(cls, "observed_layers")
        if not hasattr(vision := vars(cls).get("vision"), "__get__"):
            check_vision(vision, of=cls.__name__)
        arguments.install(cls)
        step_hooks.install(cls)

    @classmethod
    def create_agents(cls, model: Model[Any, Any], n: int, *args: Any, **kwargs: Any) -> AgentSet[Self]:
        """Create agents. As always in Mesa, a list of length `n` is dealt out to them, one item each.

        `tools`, `actions` and `stop` are exceptions: each agent gets the whole list, also one of length `n`. A list of
        such lists is dealt out. `internal_state` follows Mesa's rule: for two agents, `["calm", "angry"]` makes one
        calm and one angry.

        Args:
            model: the Mesa model that the agents belong to.
            n: how many agents.
            *args: arguments of the constructor, after the model.
            **kwargs: arguments of the constructor.

        Returns:
            The new agents.
        """
        positional, keywords = arguments.dealt(cls, n, args, kwargs)
        agents: AgentSet[Self] = super().create_agents(model, n, *positional, **keywords)
        return agents

    @classmethod
    def from_dataframe(cls, model: Model[Any, Any], df: DataFrame, **kwargs: Any) -> AgentSet[Self]:
        """Create an agent for each row of a data frame (from Mesa 3.5 on).

        Args:
            model: the Mesa model that the agents belong to.
            df: its columns are arguments of the constructor.
            **kwargs: arguments that all agents share. `tools`, `actions` and `stop` may be lists; Mesa allows no others
                here.

        Returns:
            The new agents, in the order of the rows.
        """
        whole = {name: kwargs.pop(name) for name in list(kwargs) if arguments.is_whole(name, kwargs[name])}
        columns = {name: [value] * len(df) for name, value in whole.items()}
        agents: AgentSet[Self] = super().from_dataframe(model, df.assign(**columns), **kwargs)
        return agents

    def __repr__(self) -> str:
        return name_of(self)

    __str__ = __repr__

    @property
    def system_prompt(self) -> str | None:
        """Who the agent is, in words."""
        return self.llm.system_prompt

    @system_prompt.setter
    def system_prompt(self, value: str | None) -> None:
        self.llm.system_prompt = value

    @property
    def recorder(self) -> SimulationRecorder | None:
        """The recorder of the agent: its own, else that of its model, else `None`."""
        if self._recorder is not None:
            return self._recorder
        recorder = getattr(self.model, "recorder", None)
        return recorder if isinstance(recorder, SimulationRecorder) else None

    @recorder.setter
    def recorder(self, recorder: SimulationRecorder | None) -> None:
        self._recorder = recorder

    def _build_observation(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the agent sees now, of itself and of others, without remembering it. Models for mesa-llm call this."""
        observation = observe(self)
        return observation.self_state, observation.local_state

    @steps_on
    def generate_obs(self) -> Observation:
        """What the agent sees now. It remembers it without the environment, which would fill every prompt.

        Raises:
            ConfigurationError: if a class names a missing attribute in `visible_attributes`, or a missing layer in
                `observed_layers`.
        """
        observation = self._observation()
        remember(
            self.memory,
            "observation",
            {"self_state": observation.self_state, "local_state": observation.local_state},
        )
        return observation

    def _observation(self) -> Observation:
        observation = observe(self)
        if own := own_method(self._build_observation, LLMAgent._build_observation):
            self_state, local_state = own()
            observation = replace(observation, self_state=self_state, local_state=local_state)
        return observation

    def preview_prompt(self, prompt: str | None = None) -> LLMRequest:
        """The first request that `plan` would make now. Nothing is asked and nothing is remembered.

        Args:
            prompt: what to decide; the agent's `step_prompt` by default.

        Returns:
            The request, with its `messages` and `tools`, as the strategy makes it: `tool_mode` is not applied.

        Raises:
            ConfigurationError: if there is nothing to decide.
            NotImplementedError: if the strategy has no `decide`.
        """
        return self.reasoning.preview(prompt, self._observation())

    def describe_observation(self, obs: Observation, before: Observation | None = None) -> str:
        """What the agent sees as text, for the present and for its memory. A class may describe it in its own way.

        Args:
            obs: what it sees.
            before: an observation that the prompt has already: the text is to say what has changed since then, and is
                empty if nothing has.
        """
        return obs.as_text(before)

    @steps_on
    async def agenerate_obs(self) -> Observation:
        """Like `generate_obs`."""
        with AwaitedWrites() as writes:
            observation = self.generate_obs()
            if writes:
                await writes.flush()
        return observation

    @steps_on
    def apply_plan(self, plan: Plan) -> list[dict[str, Any]]:
        """Carry a plan out: call its tools, in order, and remember the results.

        Calls of tools that were not on offer, and ids of agents that were out of sight, are refused; the refusal is the
        result.

        Args:
            plan: the decision, from `reasoning.plan()`.

        Returns:
            One `{"tool_call_id", "role", "name", "response"}` for each tool call.

        Raises:
            TurnError: in a parallel step before the agent's turn, on a thread whose event loop runs agents.
        """
        if turn_in(self.model) is not None:
            wait_my_turn()
        own = own_method(self.tool_manager.call_tools, ToolManager.call_tools)
        if own is not None:
            return self._remember_calls(own(agent=self, llm_response=plan.llm_plan))
        return self._remember_acts(
            self.tool_manager.execute(self, plan.tool_calls, offered=plan.offered, seen=plan.seen)
        )

    @steps_on
    async def aapply_plan(self, plan: Plan) -> list[dict[str, Any]]:
        """Like `apply_plan`; async tools are awaited."""
        if turn_in(self.model) is not None:
            await my_turn()
        own = own_method(self.tool_manager.acall_tools, ToolManager.acall_tools)
        if own is not None:
            called = await own(agent=self, llm_response=plan.llm_plan)
        else:
            done = await self.tool_manager.aexecute(self, plan.tool_calls, offered=plan.offered, seen=plan.seen)
        with AwaitedWrites() as writes:
            results = self._remember_acts(done) if own is None else self._remember_calls(called)
            if writes:
                await writes.flush()
        return results

    def _remember_acts(self, results: list[ToolResult]) -> list[dict[str, Any]]:
        for result in results:
            remember(
                self.memory,
                "action",
                {"tool": result.name, "arguments": result.arguments, "result": result.response},
            )
        return [result.as_dict() for result in results]

    def _remember_calls(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Remember what a tool manager of the user's own has done."""
        for result in results:
            content = {"tool": result.get("name"), "result": result.get("response")}
            remember(self.memory, "action", content if any(content.values()) else result)
        return results

    @steps_on
    def send_message(self, message: str, recipients: Recipients) -> str:
        """Send a message; the recipients and the agent itself remember it at once.

        Each recipient gets it once, however often it is named. The agent itself is left out, and so are agents without
        a memory, agents that have been removed from the model, and ids that no agent has.

        Args:
            message: the text.
            recipients: the agents that get it, or their unique ids; or one of them.

        Returns:
            A sentence that says which agents got the message, and which did not.

        Raises:
            TurnError: in a parallel step before the agent's turn, on a thread whose event loop runs agents.
            TypeError: if a recipient is neither an agent nor an id.
        """
        if turn_in(self.model) is not None:
            wait_my_turn()
        others, unknown = messages.found(self.model, recipients)
        others.pop(self, None)
        hears = {other: can_remember(other) for other in others}
        listeners: list[Any] = [other for other in others if hears[other]]
        deaf = [other.unique_id for other in others if not hears[other]]
        listener_ids = [listener.unique_id for listener in listeners]
        for listener in listeners:
            remember(listener.memory, "message", {"message": message, "sender": self.unique_id})
        if listeners:
            sent = {"message": message, "sender": self.unique_id, "recipients": listener_ids}
            remember(self.memory, "message", sent)
        return messages.report(listener_ids, deaf, unknown)

    @steps_on
    async def asend_message(self, message: str, recipients: Recipients) -> str:
        """Like `send_message`; waits for the agent's turn."""
        if turn_in(self.model) is not None:
            await my_turn()
        with AwaitedWrites() as writes:
            report = self.send_message(message, recipients)
            await writes.flush()
        return report

    def pre_step(self) -> None:
        """Called before each step."""
        self.memory.process_step(pre_step=True)

    async def apre_step(self) -> None:
        """Called before each `astep`."""
        await self.memory.aprocess_step(pre_step=True)

    def post_step(self) -> None:
        """Called after each step."""
        self.memory.process_step()

    async def apost_step(self) -> None:
        """Called after each `astep`."""
        await self.memory.aprocess_step()

    def step(self) -> None:
        """Observe, decide, act; nothing if there is no `step_prompt`."""
        if self._has_step_prompt():
            self.apply_plan(self.reasoning.plan(obs=self.generate_obs()))

    async def astep(self) -> None:
        """Observe, decide, act; nothing if there is no `step_prompt`."""
        if self._has_step_prompt():
            await self.aapply_plan(await self.reasoning.aplan(obs=await self.agenerate_obs()))

    def _has_step_prompt(self) -> bool:
        """Whether the agent has something to decide; warns, once a class, if it never has."""
        if self.step_prompt is not None:
            return True
        cls = type(self)
        if cls not in _warned_of_no_prompt and not hasattr(inspect.getattr_static(cls, "step_prompt"), "__get__"):
            _warned_of_no_prompt.add(cls)
            warnings.warn(
                f"{self} has neither a step of its own nor a step_prompt, so its step does nothing. Give "
                f"{cls.__name__} a step_prompt, or define its step.",
                UserWarning,
                stacklevel=2,
            )
        return False


step_hooks.install(LLMAgent)
