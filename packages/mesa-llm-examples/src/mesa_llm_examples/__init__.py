"""Complete Mesa models whose agents decide by asking a language model, all agents of a step at once.

    civil_violence   citizens rebel or keep quiet, cops arrest them (Epstein 2002)
    negotiation      buyers and sellers bargain by messages (Faratin, Sierra and Jennings 1998)
    sugarscape       traders gather sugar and spice, and barter (Epstein and Axtell 1996)
    opinion          people on a network listen to those who think alike (Deffuant et al. 2000)
    catalogue        which examples there are, and their options
    apps             pages in the browser on which the models run
    cli              the command `mesa-llm-examples`

Importing this package imports nothing else, so that the command starts quickly.
"""
