"""What all tests may take for granted, whoever started them."""

import signal

# Started in the background or by nohup, this process ignores Ctrl-C and hang-ups, and so would all
# that tests start and want to see end by them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
