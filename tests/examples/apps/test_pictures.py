"""What the apps draw of models: it is what the models hold."""

import importlib
import re
from itertools import combinations
from types import SimpleNamespace

import pytest

pytest.importorskip("solara", reason="the extra `app` is not installed")

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm_examples.apps.example import draw
from mesa_llm_examples.apps.serving import app_files
from mesa_llm_examples.apps.session import Choices, watch
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.looks import LOOKS
from mesa_llm_examples.negotiation import app as negotiation
from mesa_llm_examples.opinion import app as opinion
from mesa_llm_examples.reports.plots import draw_states
from mesa_llm_examples.sugarscape import app as sugarscape


@pytest.fixture
def axes():
    return Figure().add_subplot()


def stepped(app, steps, **parameters):
    enable_automatic_parallel_stepping()
    model = app.make_model(**app.defaults() | parameters, seed=1)
    for _ in range(steps):
        model.step()
    return model


def dots(collection):
    return sorted(map(tuple, collection.get_offsets().tolist()))


def module_of(name):
    return importlib.import_module(f"{EXAMPLES[name].package}.app")


def test_every_example_has_an_app():
    assert app_files().keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_app_begins_with_the_values_of_the_command_line(name):
    defaults = {option.name: option.default for option in EXAMPLES[name].options}
    app = module_of(name).APP
    assert app.defaults().items() <= defaults.items()
    watched = watch(app, Choices(parameters=app.defaults(), latency=0.0))
    watched.model.step()
    assert watched.client.counts().calls > 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_plotted_is_collected(name):
    app = module_of(name).APP
    collected = app.make_model(**app.defaults(), seed=1).datacollector.model_vars
    assert [series for plot in app.plots for series in plot if series not in collected] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_nobody_is_drawn_too(name, axes):
    app = module_of(name).APP
    nobody = {"citizens": 0, "cops": 0, "buyers": 0, "sellers": 0, "traders": 0, "people": 0, "neighbors": 0}
    model = app.make_model(**app.defaults() | {key: 0 for key in nobody if key in app.defaults()}, seed=1)
    if app.picture is not None:
        app.picture(model, axes, None)
        axes.figure.canvas.draw()


def test_demand_falls_supply_rises_and_deals_stand_at_their_price(axes):
    model = stepped(negotiation.APP, 10)
    negotiation.draw_market(model, axes, model.deals[0].buyer)
    demand, supply, deals, limit, own = axes.lines[:5]
    values = [agent.limit for agent in model.negotiators.values() if type(agent).__name__ == "Buyer"]
    assert list(demand.get_ydata())[:-1] == sorted(values * model.units, reverse=True)
    assert list(supply.get_ydata()) == sorted(supply.get_ydata())
    assert list(deals.get_ydata()) == [deal.price for deal in model.deals]
    assert limit.get_ydata()[0] == model.negotiators[model.deals[0].buyer].limit
    assert list(own.get_ydata()) == [deal.price for deal in model.deals if deal.buyer == model.deals[0].buyer]


def test_the_landscape_is_as_rich_as_its_colours_and_traders_stand_where_they_are(axes):
    model = stepped(sugarscape.APP, 3)
    chosen = next(iter(model.agents))
    places = sugarscape.draw_landscape(model, axes, chosen.unique_id)
    for image, good in zip(axes.images, ("sugar", "spice"), strict=True):
        shades = image.get_array().sum(axis=2)
        empty = np.argwhere(model.landscape.now(good) == 0)
        assert len(empty)
        assert {shades[y, x] for x, y in empty} == {3.0}
        assert np.argwhere(shades < 3).shape[0] == shades.size - len(empty)
    right = model.grid.width + 1
    lack_sugar, lack_spice, mark, *_ = axes.collections
    needs = {agent.cell.coordinate: agent.holding.mrs for agent in model.agents}

    def on_both(where):
        return sorted((x + start, y) for x, y in where for start in (0, right))

    assert dots(lack_sugar) == on_both(place for place, mrs in needs.items() if mrs > 1)
    assert dots(lack_spice) == on_both(place for place, mrs in needs.items() if not mrs > 1)
    assert dots(mark) == on_both([chosen.cell.coordinate])
    assert places == {agent.unique_id: agent.cell.coordinate for agent in model.agents}


def test_people_have_the_colour_of_their_opinion_and_connections_tell_who_listens(axes):
    model = stepped(opinion.APP, 2, people=12, neighbors=4)
    opinion.draw_network(model, axes, None)
    edges, nodes = axes.collections[0], axes.collections[-1]
    people = {agent.cell.coordinate: agent.opinion for agent in model.agents}
    assert list(nodes.get_array()) == [people[node] for node in model.grid.G]
    near = [abs(people[one] - people[other]) < model.confidence for one, other in model.grid.G.edges]
    assert {True, False} == set(near)
    dark = [tuple(color) == to_rgba(opinion.LISTENING) for color in edges.get_colors()]
    assert dark == near


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("steps", [0, 2])
def test_pictures_follow_the_page_say_what_they_show_and_agents_can_be_clicked(name, steps):
    app = module_of(name).APP
    model = stepped(app, steps)
    pictures = draw(app, model, None)
    for picture in (pictures.world, *pictures.states):
        assert "currentColor" in picture.svg  # light pages and dark ones
        assert not re.search(r"fill: #(?:fff|000)", picture.svg)
        assert picture.alt.endswith(".")
    assert all(0 < share < 1 for place in pictures.world.spots.values() for share in place)
    here = {agent.unique_id for agent in model.agents}
    assert set(pictures.world.spots) == (set() if name == "negotiation" else here)
    assert app.about.count(".") >= 2


def test_nothing_yet_is_said():
    app = negotiation.APP
    pictures = draw(app, stepped(app, 0), None)
    assert "no deals yet" in pictures.world.svg
    assert pictures.states[1].alt == "After step 0: no price yet."


def simulated_deuteranopia(color):
    """The colour as people without green cones see it, after Machado, Oliveira and Fernandes (2009)."""
    matrix = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    return (matrix @ np.array(to_rgba(color)[:3])).clip(0, 1)


@pytest.mark.parametrize("name", LOOKS)
def test_states_differ_in_shape_and_for_colour_blind_people_in_colour(name):
    looks = list(LOOKS[name].values())
    shown = [[LOOKS[name][variable] for variable in plot] for plot in module_of(name).APP.plots]
    for plot in shown:
        assert len({look.marker for look in plot}) == len(plot)
        for one, other in combinations(plot, 2):
            assert np.abs(simulated_deuteranopia(one.color) - simulated_deuteranopia(other.color)).max() > 0.2
    assert len({look.color for look in looks}) >= len(looks) - 1  # deals and their price share one


@pytest.mark.parametrize("recorded_as", ["civil-violence", "CivilViolence"])
def test_a_report_has_the_colours_of_the_app(recorded_as):
    axes = Figure().subplots(2)
    lines = [SimpleNamespace(step=0, states={"active": 1, "quiet": 9})]
    draw_states(axes[:1], SimpleNamespace(steps=lines, run=SimpleNamespace(example=recorded_as)))
    looks = LOOKS["civil-violence"]
    drawn = {line.get_label(): (line.get_color(), line.get_marker()) for line in axes[0].lines}
    assert drawn == {name: (looks[name].color, looks[name].marker) for name in ("active", "quiet")}
