"""The public names of every package; a change of them shows here."""

import importlib

import pytest
from helpers.public_names import packages
from inline_snapshot import snapshot

PUBLIC = {
    "mesa_llm.activation": snapshot(
        [
            "Activation",
            "CallOrigin",
            "Lent",
            "ModelCall",
            "Turn",
            "activated",
            "adecide",
            "agents_own",
            "claim",
            "current_activation",
            "current_origin",
            "current_turn",
            "decide",
            "entered",
            "in_thread",
            "is_claimed",
            "lend",
            "log_counts",
            "log_once",
            "mark_installed",
            "model_call",
            "my_turn",
            "nearer_method",
            "next_ordinal",
            "queued",
            "stage",
            "step_of",
            "turn_in",
            "wait_my_turn",
        ]
    ),
    "mesa_llm.clients": snapshot(
        [
            "Answer",
            "AsyncClient",
            "CallCounts",
            "DirectClient",
            "Embedder",
            "EmbeddingClient",
            "LLMClient",
            "LLMRequest",
            "LLMResponse",
            "LiteLLMClient",
            "Message",
            "MeteredClient",
            "ResponseFormat",
            "RuleBasedClient",
            "ToolCall",
            "ToolChoice",
            "ToolSpec",
            "Transport",
            "TransportClient",
            "Usage",
            "cost_of",
            "price_of",
            "tool_call",
        ]
    ),
    "mesa_llm.errors": snapshot(
        [
            "BudgetExhaustedError",
            "ConfigurationError",
            "ConflictError",
            "DecisionError",
            "DecisionTimeoutError",
            "DistributionConflictError",
            "EndpointUnreachableError",
            "JournalError",
            "JournalMissError",
            "MesaLLMError",
            "MissingAPIKeyError",
            "ModelCallError",
            "ModelTimeoutError",
            "NotParallelWarning",
            "RateLimitedError",
            "RecordingError",
            "ReproducibilityWarning",
            "StepAborted",
            "ToolError",
            "TurnError",
            "UnknownModelError",
        ]
    ),
    "mesa_llm.journal": snapshot(
        ["Journal", "JournalMode", "JournaledClient", "RecordedCall", "RecordedError", "RecordedRun"]
    ),
    "mesa_llm.llm_agent": snapshot(["LLMAgent"]),
    "mesa_llm.limits": snapshot(
        [
            "AdaptiveConcurrency",
            "AdaptiveLimit",
            "Budget",
            "BudgetClient",
            "FallbackClient",
            "LimitChange",
            "LimitedClient",
            "RateLimitedClient",
            "RetryingClient",
            "SingleFlightClient",
        ]
    ),
    "mesa_llm.memory": snapshot(
        ["EpisodicMemory", "LongTermMemory", "Memory", "MemoryEntry", "STLTMemory", "ShortTermMemory"]
    ),
    "mesa_llm.module_llm": snapshot(
        [
            "Dialogue",
            "ModuleLLM",
            "OfferedTool",
            "SamplingOptions",
            "ToolMode",
            "aconverse",
            "ask_structured",
            "connect",
            "converse",
            "read_structured",
            "shared_client",
        ]
    ),
    "mesa_llm.parallel_stepping": snapshot(
        [
            "AgentReport",
            "CallSpan",
            "ParallelStepError",
            "ParallelStepping",
            "Span",
            "StepProgress",
            "StepReport",
            "agent_reporters",
            "chrome_trace",
            "disable_automatic_parallel_stepping",
            "enable_automatic_parallel_stepping",
            "model_reporters",
            "my_turn",
            "progress_of",
            "reports_of",
            "step_agents_multithreaded",
            "step_agents_parallel",
            "step_agents_parallel_sync",
            "wait_my_turn",
            "write_chrome_trace",
        ]
    ),
    "mesa_llm.reasoning": snapshot(
        [
            "CoTReasoning",
            "Observation",
            "OneCallReasoning",
            "Plan",
            "ReActReasoning",
            "ReWOOReasoning",
            "Reasoning",
            "Thinking",
            "ask_structured",
            "read_observation",
            "read_structured",
        ]
    ),
    "mesa_llm.recording": snapshot(
        [
            "AgentViewer",
            "SimulationEvent",
            "SimulationRecorder",
            "StateDifference",
            "load_recording",
            "quick_agent_view",
            "record_model",
            "recording_to_dataframe",
            "state_difference",
            "state_hash",
        ]
    ),
    "mesa_llm.spaces": snapshot(
        ["Position", "Surroundings", "directions_from", "free_places_around", "move_to", "neighbors_of", "position_of"]
    ),
    "mesa_llm.telemetry": snapshot(["TracedClient"]),
    "mesa_llm.testing": snapshot(["FakeOpenAIServer", "Fault", "ScriptedLLM", "ServedRequest"]),
    "mesa_llm.tools": snapshot(
        ["FreeDirection", "ToolManager", "ToolResult", "VisibleAgent", "VisibleAgentId", "VisibleCell", "tool"]
    ),
    "mesa_llm_examples.civil_violence": snapshot(["Citizen", "CivilViolence", "Cop", "policy"]),
    "mesa_llm_examples.negotiation": snapshot(
        ["Buyer", "Deal", "Negotiation", "Negotiator", "OfferBook", "Seller", "policy"]
    ),
    "mesa_llm_examples.opinion": snapshot(["Opinion", "Person", "policy"]),
    "mesa_llm_examples.sugarscape": snapshot(["Exchange", "Holding", "Landscape", "Sugarscape", "Trader", "policy"]),
}


def test_every_package_that_exports_names_is_here():
    assert set(packages()) == set(PUBLIC)


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package):
    names = importlib.import_module(package).__all__
    assert names == sorted(names)
    assert names == PUBLIC[package]
    assert all(hasattr(importlib.import_module(package), name) for name in names)
