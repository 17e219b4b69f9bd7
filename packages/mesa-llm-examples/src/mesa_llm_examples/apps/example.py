"""What an app needs to know about its model, and how it draws the model. Needs the extra `app`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator
from mesa.visualization.components import AgentPortrayalStyle
from mesa.visualization.mpl_space_drawing import draw_space

from mesa_llm_examples.apps.session import Picture, Pictures
from mesa_llm_examples.looks import BLUE, Look
from mesa_llm_examples.reports.plots import INK, as_svg, legend, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mesa_llm.clients import Answer, LLMRequest
    from mesa_llm_examples.catalogue import Example


type Series = Mapping[str, str | Look]
"""The variables of one plot, with their colours or looks."""


@dataclass(frozen=True, kw_only=True)
class ExampleApp:
    """An example as its app shows it.

    Attributes:
        title: the headline.
        make_model: makes the Mesa model: a class or function that takes the parameters and `seed`, `llm_model`,
            `client` and `parallel_stepping` by name. The model has a data collector, and a `grid` or a `space` unless
            there is a `picture`.
        policy: the rule that decides if no LLM is called.
        parameters: the widgets of the parameters, by name, as Mesa's `SolaraViz` takes them: a
            `mesa.visualization.Slider`, or a dictionary with `type`, `label`, `value` and what else the type needs.
        series: the variables of the data collector that are plotted over time, and their colours or looks; a sequence
            of mappings makes a plot of each.
        units: what the vertical axis of each plot says.
        lines: a variable that the data collector has of each agent: it is plotted first, a thin line an agent.
        portrayal: how an agent is drawn in the model's space, as an `AgentPortrayalStyle` of Mesa.
        picture: draws something else than the space: a function of the model, matplotlib's `Axes`, and the id of the
            chosen agent or `None`. Called between two steps. It may return where agents are, by id, in the units of the
            axes: there they can be clicked.
        legend: the labels of the picture and their styles; by default dots in the colours of the series.
        describe: gives an agent's state in a word or two, for the list of agents.
        about: what is modelled, after whom, and what to try, in a sentence or two.
        seed: the seed at first.
        draw_space: further settings of Mesa's `make_space_component`, such as `s`, the size of all dots in square
            points: Mesa ignores the `size` in a style.
    """

    title: str
    make_model: Callable[..., Any]
    policy: Callable[[LLMRequest], Answer]
    parameters: Mapping[str, Any]
    series: Series | Sequence[Series]
    units: Sequence[str] = ()
    lines: str | None = None
    portrayal: Callable[[Any], Any] | None = None
    picture: Callable[[Any, Axes, int | None], Mapping[int, tuple[float, float]] | None] | None = None
    legend: Mapping[str, Any] | None = None
    describe: Callable[[Any], str] = lambda agent: ""
    about: str = ""
    seed: int = 42
    draw_space: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plots(self) -> Sequence[Series]:
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


_WIDTH, _HEIGHT = 5.2, 4.0  # inches, of all plots together
_LEAST = 1.8  # inches, of one plot
_MARKED = 25  # about how many points of a line have a marker
_matplotlib = threading.Lock()  # protects matplotlib's caches: each page draws on a thread of its own


def draw(app: ExampleApp, model: Any, chosen: int | None) -> Pictures:
    """The model's world with a mark on the chosen agent, and its states over time. Nothing may change it meanwhile."""
    with _matplotlib, style():
        return Pictures(world=_world(app, model, chosen), states=_states(app, model))


def _world(app: ExampleApp, model: Any, chosen: int | None) -> Picture:
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    if app.picture is not None:
        places = app.picture(model, axes, chosen) or {}
        return _picture(figure, "world", f"The world of {app.title}.", _spots(figure, axes, places))
    styles: dict[int, Any] = {}

    def portray(agent: Any) -> Any:
        look = app.portrayal(agent) if app.portrayal is not None else AgentPortrayalStyle()
        if agent.unique_id == chosen:
            look = replace(look, edgecolors=INK, linewidths=2.5)
        return styles.setdefault(agent.unique_id, look)

    space = getattr(model, "grid", None) or model.space
    draw_space(space, portray, ax=axes, **app.draw_space)
    _dress(axes, app.legend or app.plots[0])
    places = {agent_id: (look.x, look.y) for agent_id, look in styles.items() if look.x is not None}
    return _picture(figure, "world", f"The world of {app.title}.", _spots(figure, axes, places))


def _spots(figure: Figure, axes: Axes, places: Mapping[int, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """Where agents are drawn, in shares of the width and the height of the picture, from its top left."""
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    points = {agent_id: axes.transData.transform(place) for agent_id, place in places.items()}
    return {agent_id: (float(x) / width, 1 - float(y) / height) for agent_id, (x, y) in points.items()}


def _states(app: ExampleApp, model: Any) -> tuple[Picture, ...]:
    collected = model.datacollector.get_model_vars_dataframe()
    height = max(_LEAST, _HEIGHT / (len(app.plots) + (app.lines is not None)))
    units = [*app.units, *[""] * len(app.plots)]
    first = [] if app.lines is None else [_lines(model, app.lines, height)]
    plots = zip(app.plots, units, strict=False)
    return tuple(first + [_plot(collected, f"states{n}", *plot, height=height) for n, plot in enumerate(plots)])


def _lines(model: Any, name: str, height: float) -> Picture:
    """A variable of each agent over time."""
    figure = new_figure(_WIDTH, height)
    axes = figure.add_subplot()
    by_agent = model.datacollector.get_agent_vars_dataframe()[name].unstack()
    axes.plot(by_agent.index, by_agent.to_numpy(), color=BLUE, alpha=0.5, linewidth=0.8, marker=".", markersize=3)
    _dress_plot(axes, name, last=max(by_agent.index, default=0))
    if by_agent.size:
        axes.set_ylim(0, max(1.0, float(by_agent.max().max())))
    return _picture(figure, "lines", f"{name} of each agent over {len(by_agent)} steps.")


def _plot(collected: Any, name: str, series: Series, unit: str, height: float) -> Picture:
    figure = new_figure(_WIDTH, height)
    axes = figure.add_subplot()
    said = []
    for variable, given in series.items():
        look = Look(given) if isinstance(given, str) else given
        label = look.label or variable
        values = collected[variable].astype(float)
        known = values.dropna()
        axes.plot(
            values,
            label=label,
            color=look.color,
            marker=look.marker,
            markersize=5,
            clip_on=False,
            zorder=3,
            markevery=max(1, len(values) // _MARKED),
        )
        said.append(f"{label} {known.iloc[-1]:g}" if len(known) else f"no {label} yet")
        if not len(known):
            axes.text(0.5, 0.5, f"no {label} yet", transform=axes.transAxes, ha="center", va="center")
    legend(axes, axes.lines)
    _dress_plot(axes, unit, last=len(collected) - 1)
    return _picture(figure, name, f"After step {len(collected) - 1}: {', '.join(said)}.")


def _dress_plot(axes: Axes, unit: str, *, last: int) -> None:
    """Axes that say what they show, also of the first step alone."""
    axes.set_xlim(0, max(last, 1))
    axes.set_ylim(
        bottom=min(0.0, axes.get_ylim()[0]) if axes.get_ylim()[0] < -0.1 else 0, top=max(axes.get_ylim()[1], 1)
    )
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _dress(axes: Axes, shown: Mapping[str, Any]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    handles = []
    for name, look in shown.items():
        color, marker = (look, "o") if isinstance(look, str) else (look.color, look.marker)
        handles.append(axes.scatter([], [], color=color, marker=marker, label=name))
    legend(axes, handles)


def _picture(figure: Figure, name: str, alt: str, spots: Mapping[int, tuple[float, float]] | None = None) -> Picture:
    return Picture(svg=as_svg(figure, name), alt=alt, spots=spots or {})
