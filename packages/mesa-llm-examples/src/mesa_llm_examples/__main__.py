"""`python -m mesa_llm_examples` is `mesa-llm-examples`."""

from mesa_llm_examples.cli import main

main()
