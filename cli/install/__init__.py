"""`segwatch install` and `uninstall`: systemd's units, their user and their directories on this host or in a staging directory.

`units` is the text of the units, and the one place where their sandbox is written; `host` does what is to be done, or
says it; `roles` knows what each unit needs; `verb` is the command line.
"""
