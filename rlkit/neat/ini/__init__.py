"""neat-python's configuration files: read with line numbers, checked, corrected, and made our settings.

    keys        every key of neat-python 2.0 (0.92 has the same names): type, default, range
    reading     the file's lines, as configparser understands them
    values      one value from its text, as neat-python reads it
    mistakes    what a check finds
    checking    every mistake at once, each with what mends it
    relations   values that contradict one another or the environment
    writing     the file without its mistakes
    conversion  its values as keys of a run, and what is not the same here

Facts about neat-python are those of its release 2.0.0; it is not needed to be installed.
"""
