"""Threads and event loops: which there are, and how work gets onto them.

Its modules:

    transport_loop   one event loop for the process, on a thread of its own; runs clients only
    calling_loop     a coroutine run to its end from ordinary code, on a loop kept for the calling thread
    loop_thread      an event loop on a thread of its own
    cross_thread     calls from one thread to the event loop of another, many at a time
    forks            what a forked child must forget
    worker_thread    a function on a thread of its own, awaited
"""
