"""``python -m hilnas``."""

from hilnas import main

main()
