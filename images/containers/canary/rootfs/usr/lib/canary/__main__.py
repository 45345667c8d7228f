"""The canary of an application.

    serve  answer whoever asks, by the application's own certificate: which application, where, and how it is
    check  use what the application is given, and say how that went
    sign   have what standard input says signed, and say what came
    reach  try each address and port of a list on standard input, and say which of them answer

It says what it found and does not know what was to be found: that is for whoever asks.
"""

import json
import sys
from importlib import import_module


def main(*words: str) -> None:
    """Answers are one JSON document on standard output. What one word needs stays out of the memory of the others."""
    match words:
        case ["serve"]:
            import_module("serve").forever()
        case ["check"]:
            print(json.dumps(import_module("checks").found()))
        case ["sign"]:
            print(json.dumps(import_module("signing").signed(json.load(sys.stdin))))
        case ["reach"]:
            print(json.dumps(import_module("reach").tried(json.load(sys.stdin))))
        case _:
            sys.exit(__doc__)


main(*sys.argv[1:])
