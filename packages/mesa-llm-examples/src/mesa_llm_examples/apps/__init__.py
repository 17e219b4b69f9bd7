"""Web apps in which models run and can be looked into. An example has one with a few lines; see `ExampleApp`.

    serving    the command that serves an app
    starting   what it is started with
    guard      refuses what does not come from the app's own page
    example    what an app has to know about its model
    watching   a model that is made as chosen on the page, with its calls counted
    player     steps it, without keeping the page waiting
    session    the model, its player and what is shown of it, for one visitor
    drawing    the pictures
    counters   its numbers, live
    inspector  what an agent has seen, thought, done and been told
    page       the page; panels has its parts

Importing this package imports nothing else: `page`, `panels`, `drawing` and `guard` need the extra `app`.
"""
