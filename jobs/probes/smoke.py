#!/usr/bin/env python3
"""Does every tenant of a wave still answer? Exit status 0: good, 1: bad, 2: ask a person.

On stdin it gets {"job": ..., "journal": ..., "wave": 1, "of": 3, "tenants": [{"name": ...,
"base_url": ..., "tags": [...]}]}. What it prints is kept with the wave.
"""

import json
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

status = 0
for tenant in json.load(sys.stdin)["tenants"]:
    url = f"{tenant['base_url']}/.well-known/jwks.json"
    try:
        urlopen(url, timeout=10).close()
    except HTTPError as error:  # it answers: how, tells whether that is our doing
        if error.code >= 500:
            sys.stdout.write(f"{tenant['name']}: {error}\n")
            status = 1
    except OSError as error:
        sys.stdout.write(f"{tenant['name']}: {error}\n")
        status = status or 2
sys.exit(status)
