"""What a language model is told of a citizen and a cop. A change shows here."""

from inline_snapshot import snapshot

from mesa_llm.reasoning import read_observation
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.civil_violence import CivilViolence, policy


def told(citizens, cops):
    """What a lone agent's model is told, but for the words that all agents of all models share."""
    llm = ScriptedLLM(policy)
    CivilViolence(citizens, cops, seed=3, client=llm, parallel_stepping=False).step()
    system, prompt = llm.requests[0].messages
    return {
        "persona": system.content.partition("# Who you are\n")[2],
        "knows": list(read_observation(llm.requests[0])["self_state"]["internal_state"]),
        "task": prompt.content.partition("# Task\n")[2],
        "tools": [f"{tool.name}: {tool.description}" for tool in llm.requests[1].tools if tool.name != "move_one_step"],
    }


def test_citizen():
    assert told(citizens=1, cops=0) == snapshot(
        {
            "persona": """\
You are a citizen under a central authority. In each step you either rebel in the open (active) or keep quiet.
Your internal state holds numbers between 0 and 1 that only you know: your hardship, your aversion to risk, and how
legitimate the authority is in your eyes. The more hardship and the less legitimacy, the greater your grievance.
A cop who has you in sight may arrest you while you are active, and then you are in jail for some steps. The more cops
you see for each active citizen, the likelier that is. You rebel if your grievance outweighs your risk by more than the
threshold.\
""",
            "knows": [
                "state",
                "_hardship",
                "_risk_aversion",
                "_legitimacy",
                "_threshold",
                "_arrest_constant",
                "_free_directions",
            ],
            "task": "Decide whether you are active or quiet. Then move to one of your free directions.",
            "tools": [
                """\
change_state: Rebel in the open, or stop doing so.
Returns: What you are from now on.\
"""
            ],
        }
    )


def test_cop():
    assert told(citizens=0, cops=1) == snapshot(
        {
            "persona": """\
You are a cop and serve the central authority. In each step you arrest one active citizen in your sight, if there is
any, and patrol. Quiet citizens and those in jail cannot be arrested.\
""",
            "knows": ["_free_directions"],
            "task": "Decide whom you arrest, if anybody. Then move to one of your free directions.",
            "tools": [
                """\
arrest_citizen: Arrest a citizen in your sight who is active. The citizen goes to jail for some steps.
Returns: For how many steps the citizen is in jail.\
"""
            ],
        }
    )
