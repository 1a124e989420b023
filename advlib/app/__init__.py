"""What stands on the library: the command line, runs and their report, protocols, handing on.

Nothing outside this folder imports from it.
"""
