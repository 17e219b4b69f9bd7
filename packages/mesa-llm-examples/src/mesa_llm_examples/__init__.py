"""Complete Mesa models whose agents decide by asking a language model, all agents of a step at once.

civil_violence   citizens rebel or keep quiet, cops arrest them (Epstein 2002)
apps             pages in the browser on which the models run
cli              the command `mesa-llm-examples`

Importing this package imports nothing else, so that the command starts quickly.
"""
