"""`kubectl modelservice`: what a person asks of a ModelService and does with it by hand.

It reads and writes through kubectl, which is there whenever kubectl finds a plugin: contexts, credentials and proxies
are those of every other command, and no client has to be loaded, which would take longer than the rest. It imports
Python's own library alone, so that one file of it can be copied to any machine.

cli         the commands
acts        what a command writes, or why it will not
progress    what is new since the last look, and whether the end is reached
view        a ModelService as text
words       how parts of a status are said
kubectl     the way to the API server, and its errors as sentences
completion  what the shell offers when Tab is pressed
archive     all of this as one file
"""
