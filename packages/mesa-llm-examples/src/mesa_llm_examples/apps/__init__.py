"""Web apps in which models run and can be inspected. A few lines give an example its app; see `ExampleApp`.

    serving    the command that serves an app, and its settings
    guard      refuses requests that do not come from the app's own page
    example    what an app needs to know about its model, and how it draws it
    session    the session of one visitor: a model made as chosen, the thread that steps it, and what the page shows
    views      what the page says about the run and about an agent
    page       the page and its parts

Importing this package imports nothing else: `example`, `page` and `guard` need the extra `app`.
"""
