"""A verifier that caches the key set: PyJWT's PyJWKClient.

    keys.py COOLDOWN

COOLDOWN is for how many seconds it does not fetch the set again. Reads tokens for https://storage.azure.com, one a line, and prints for each who
it is of, or what is wrong with it.
"""

import os
import sys

import jwt

client = jwt.PyJWKClient(f"https://login.microsoftonline.com/{os.environ['AZURE_TENANT_ID']}/discovery/v2.0/keys", cooldown_duration=float(sys.argv[1]))
for line in sys.stdin:
    token = line.strip()
    try:
        key = client.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key.key, algorithms=["RS256"], audience="https://storage.azure.com")
        print(claims["oid"], flush=True)
    except jwt.PyJWTError as e:
        print(type(e).__name__, e, flush=True)
