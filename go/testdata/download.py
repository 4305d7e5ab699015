"""Downloads a file once for each line on stdin, which names an empty cache; prints the seconds.

    python download.py ENDPOINT TOKEN REPO FILE

One process for all of them, as in a service: what is timed is the call.
"""

import sys
import time

from xet_ffi import Client

endpoint, token, repo, name = sys.argv[1:]
for line in sys.stdin:
    with Client(endpoint, token, line.rstrip("\n")) as client:
        started = time.perf_counter()
        client.download_file(repo, name)
        print(time.perf_counter() - started, flush=True)
