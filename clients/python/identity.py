"""ManagedIdentityCredential and DefaultAzureCredential on a machine with a
user-assigned identity.

    identity.py CLIENT_ID STRANGER

The last line printed is the report, a JSON object.
"""

import base64
import json
import sys

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential, ManagedIdentityCredential

client, stranger = sys.argv[1:]
ARM = "https://management.azure.com/.default"


def who(credential):
    try:
        token = credential.get_token(ARM).token
    except (ClientAuthenticationError, CredentialUnavailableError) as e:
        return str(e)
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return [claims["appid"], claims["aud"]]


print(json.dumps({
    "default": who(DefaultAzureCredential()),
    "machine": who(ManagedIdentityCredential()),
    "byClient": who(ManagedIdentityCredential(client_id=client)),
    "stranger": who(ManagedIdentityCredential(client_id=stranger)),
}))
