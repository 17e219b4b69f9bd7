"""A record of a run as a file of JSON Lines, and the page and the picture that are made from it.

run_file    the lines of the file, and how they are written and read
measures    the numbers of a report
plots       what is drawn
report      the page and the picture
"""
