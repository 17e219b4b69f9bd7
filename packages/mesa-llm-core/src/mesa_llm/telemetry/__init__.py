"""Model calls as OpenTelemetry spans. Needs the extra `mesa-llm-core[otel]`."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.telemetry.traced_client import TracedClient

__all__ = ["TracedClient"]
