"""What an app has to know about the model that it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesa_llm.clients import Answer, LLMRequest


@dataclass(frozen=True, kw_only=True)
class ExampleApp:
    """An example, as its app shows it.

    Attributes:
        title: the headline.
        make_model: makes the Mesa model: a class or function that takes the parameters and `seed`, `llm_model`,
            `client` and `parallel_stepping` by name. The model has a data collector, and a `grid` or a `space`.
        policy: decides if no model is to be asked.
        parameters: what can be chosen, by name: widgets as Mesa's `SolaraViz` takes them, either a
            `mesa.visualization.Slider` or a dictionary with `type`, `label`, `value` and what else the type needs.
        series: variables of the data collector that are plotted over time, and their colours.
        portrayal: how an agent is drawn, as an `AgentPortrayalStyle` of Mesa.
        legend: what is drawn how, in words and styles; by default dots in the colours of the series.
        describe: an agent's state in a word or two, for the list of agents.
        seed: the seed at first.
        draw_space: further settings of Mesa's `make_space_component`, such as `s`, the size of all dots in square
            points: Mesa takes no heed of the `size` in a style.
    """

    title: str
    make_model: Callable[..., Any]
    policy: Callable[[LLMRequest], Answer]
    parameters: Mapping[str, Any]
    series: Mapping[str, str]
    portrayal: Callable[[Any], Any]
    legend: Mapping[str, Any] | None = None
    describe: Callable[[Any], str] = lambda agent: ""
    seed: int = 42
    draw_space: Mapping[str, Any] = field(default_factory=dict)

    def labelled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The widgets of the parameters, with the values of sliders in their labels.

        Args:
            values: what is chosen, by name.
        """
        return {name: _labelled(widget, values[name]) for name, widget in self.parameters.items()}

    def defaults(self) -> dict[str, Any]:
        """The parameters as they are at first."""
        return {
            name: widget["value"] if isinstance(widget, Mapping) else widget.value
            for name, widget in self.parameters.items()
        }


def _labelled(widget: Any, value: Any) -> dict[str, Any]:
    options = (
        dict(widget)
        if isinstance(widget, Mapping)
        else {
            "type": "SliderFloat" if widget.is_float_slider else "SliderInt",
            **{name: getattr(widget, name) for name in ("label", "value", "min", "max", "step")},
        }
    )
    if options["type"].startswith("Slider"):
        options["label"] = f"{options['label']}: {value:g}"
    return options
