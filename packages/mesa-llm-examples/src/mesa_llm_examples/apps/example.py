"""What an app needs to know about its model, and how it draws the model. Needs the extra `app`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mesa.visualization.components import AgentPortrayalStyle
from mesa.visualization.mpl_space_drawing import draw_space

from mesa_llm_examples.apps.session import Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mesa_llm.clients import Answer, LLMRequest
    from mesa_llm_examples.catalogue import Example


@dataclass(frozen=True, kw_only=True)
class ExampleApp:
    """An example as its app shows it.

    Attributes:
        title: the headline.
        make_model: makes the Mesa model: a class or function that takes the parameters and `seed`, `llm_model`,
            `client` and `parallel_stepping` by name. The model has a data collector, and a `grid` or a `space` unless
            there is a `picture`.
        policy: the rule that decides if no model is asked.
        parameters: the widgets of the parameters, by name, as Mesa's `SolaraViz` takes them: a
            `mesa.visualization.Slider`, or a dictionary with `type`, `label`, `value` and what else the type needs.
        series: the variables of the data collector that are plotted over time, and their colours; a sequence of
            mappings makes a plot of each.
        portrayal: how an agent is drawn in the model's space, as an `AgentPortrayalStyle` of Mesa.
        picture: draws something else than the space: a function of the model, matplotlib's `Axes`, and the id of the
            chosen agent or `None`. Called between two steps.
        legend: the labels of the picture and their styles; by default dots in the colours of the series.
        describe: gives an agent's state in a word or two, for the list of agents.
        seed: the seed at first.
        draw_space: further settings of Mesa's `make_space_component`, such as `s`, the size of all dots in square
            points: Mesa ignores the `size` in a style.
    """

    title: str
    make_model: Callable[..., Any]
    policy: Callable[[LLMRequest], Answer]
    parameters: Mapping[str, Any]
    series: Mapping[str, str] | Sequence[Mapping[str, str]]
    portrayal: Callable[[Any], Any] | None = None
    picture: Callable[[Any, Axes, int | None], None] | None = None
    legend: Mapping[str, Any] | None = None
    describe: Callable[[Any], str] = lambda agent: ""
    seed: int = 42
    draw_space: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plots(self) -> Sequence[Mapping[str, str]]:
        """The series, one mapping a plot."""
        return [self.series] if isinstance(self.series, Mapping) else self.series

    def labelled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The widgets of the parameters; the label of a slider shows its value, which `values` has by name."""
        return {name: _labelled(widget, values[name]) for name, widget in self.parameters.items()}

    def defaults(self) -> dict[str, Any]:
        """The values of the parameters at first."""
        return {
            name: widget["value"] if isinstance(widget, Mapping) else widget.value
            for name, widget in self.parameters.items()
        }


def widgets(example: Example, **labels: str | tuple[str, float, float, float]) -> dict[str, Any]:
    """Widgets for options of an example, with the defaults of the command line.

    Args:
        example: the example.
        labels: by the name of an option: for a number the label, the least value, the greatest value and the step; for
            anything else the label alone.
    """
    options = {option.name: option for option in example.options}
    return {name: _widget(options[name].default, label) for name, label in labels.items()}


def _widget(value: Any, label: str | tuple[str, float, float, float]) -> dict[str, Any]:
    if isinstance(label, str):
        return {"type": "Checkbox" if isinstance(value, bool) else "InputText", "label": label, "value": value}
    name, least, greatest, step = label
    type_ = "SliderFloat" if isinstance(value, float) else "SliderInt"
    return {"type": type_, "label": name, "value": value, "min": least, "max": greatest, "step": step}


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


_WIDTH, _HEIGHT = 6.4, 4.8  # inches, of all plots together
_matplotlib = threading.Lock()  # protects matplotlib's caches: each page draws on a thread of its own


def draw(app: ExampleApp, model: Any, chosen: int | None) -> Pictures:
    """The model's world with a mark on the chosen agent, and its states over time. Nothing may change it meanwhile."""
    with _matplotlib:
        return Pictures(world=_world(app, model, chosen), states=_states(app, model))


def _world(app: ExampleApp, model: Any, chosen: int | None) -> bytes:
    if app.picture is not None:
        figure = Figure(layout="constrained")
        app.picture(model, figure.add_subplot(), chosen)
        return _png(figure)
    figure = Figure()
    axes = figure.add_subplot()

    def portray(agent: Any) -> Any:
        style = app.portrayal(agent) if app.portrayal is not None else AgentPortrayalStyle()
        return replace(style, edgecolors="black", linewidths=2.5) if agent.unique_id == chosen else style

    space = getattr(model, "grid", None) or model.space
    draw_space(space, portray, ax=axes, **app.draw_space)
    _dress(axes, app.legend or app.plots[0])
    return _png(figure)


def _states(app: ExampleApp, model: Any) -> tuple[bytes, ...]:
    collected = model.datacollector.get_model_vars_dataframe()
    return tuple(_plot(collected, series, height=_HEIGHT / len(app.plots)) for series in app.plots)


def _plot(collected: Any, series: Mapping[str, str], height: float) -> bytes:
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_subplot()
    for name, color in series.items():
        axes.plot(collected[name], label=name, color=color)
    axes.legend(loc="best")
    axes.set_xlabel("Step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
    return _png(figure)


def _dress(axes: Axes, legend: Mapping[str, Any]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    for name, style in legend.items():
        color, marker = (style, "o") if isinstance(style, str) else (style.color, style.marker)
        axes.scatter([], [], color=color, marker=marker, label=name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False)


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
