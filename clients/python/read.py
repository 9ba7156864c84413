"""What scoring code does with its managed identity, once:
    python read.py ACCOUNT CONTAINER BLOB [WHAT [CLIENT_ID]]
It asks for a token (of the user-assigned identity, with its client id), reads
the blob with the SDK and then with the standard library. WHAT is all, or one of
sdk, plain and token. The last line printed is a JSON object: what was read, or
status and error code."""

import json
import sys
import urllib.error
import urllib.request

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient


def read(account, container, blob, what="all", client_id=None):
    url = f"https://{account}.blob.core.windows.net"
    report = {}
    try:
        credential = ManagedIdentityCredential(client_id=client_id)
        token = credential.get_token("https://storage.azure.com/.default").token
    except (ClientAuthenticationError, CredentialUnavailableError) as error:
        return {"credential": str(error)}
    report["token"] = "given"
    if what in ("all", "sdk"):
        try:
            client = BlobServiceClient(url, credential).get_blob_client(container, blob)
            report["sdk"] = client.download_blob().readall().decode()
        except HttpResponseError as error:
            code = getattr(error.error_code, "value", error.error_code)  # an enum where the SDK knows it
            report["sdk"] = f"{error.status_code} {code}"
    if what not in ("all", "plain"):
        return report
    request = urllib.request.Request(f"{url}/{container}/{blob}", headers={"Authorization": "Bearer " + token, "x-ms-version": "2023-11-03"})
    try:
        with urllib.request.build_opener().open(request) as answer:
            report["plain"] = answer.read().decode()
    except urllib.error.HTTPError as error:
        report["plain"] = f"{error.code} {error.headers['x-ms-error-code']}"
    except urllib.error.URLError as error:
        report["plain"] = str(error)
    return report


if __name__ == "__main__":
    print(json.dumps(read(*sys.argv[1:])))
