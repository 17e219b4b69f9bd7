"""Who is measured beside us, each as a script that runs in a process, and if need be an environment, of its own.

A contestant reads a line `{"url": …, "agents": …, "steps": …}` at a time from standard input, steps a new model of as
many agents as often, and writes a line `{"seconds": […]}` with the time of each step. Every agent asks twice a step.
"""
