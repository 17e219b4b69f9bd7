"""Complete Mesa models whose agents decide by asking an LLM, all agents of a step at once.

    civil_violence   citizens rebel or keep quiet, cops arrest them (Epstein 2002)
    negotiation      buyers and sellers bargain by messages (Faratin, Sierra and Jennings 1998)
    sugarscape       traders gather sugar and spice, and barter (Epstein and Axtell 1996)
    opinion          people on a network listen to those who think alike (Deffuant et al. 2000)
    cli              the command `mesa-llm-examples`
    catalogue        the examples, and the options of their models
    setting          the options of all runs; run, compare: the commands; simulation: a run and its progress
    reports          the record of a run, and the page and the picture that are made from it
    apps             the pages in the browser

Importing this package imports nothing else, so that the command starts quickly.
"""
