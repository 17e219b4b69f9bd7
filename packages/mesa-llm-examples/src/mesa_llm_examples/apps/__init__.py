"""Web apps in which models run and can be inspected. An example has one with a few lines; see `ExampleApp`.

    serving    the command that serves an app, and what the app is started with
    guard      refuses requests that do not come from the app's own page
    example    what an app has to know about its model, and how it draws it
    session    for one visitor: a model made as chosen, its player, and what is shown of it
    player     steps the model without keeping the page waiting
    views      what the page says of the run and of an agent
    page       the page and its parts

Importing this package imports nothing else: `example`, `page` and `guard` need the extra `app`.
"""
