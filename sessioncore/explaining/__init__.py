"""What became of calls, from outside: captures, messages and descriptions in files, explained.

`sessioncore.explaining.reading` reads a file, `calls` sorts what is in it into calls,
`sessioncore.explaining.lint` finds what is wrong, and `report` says it.
"""
