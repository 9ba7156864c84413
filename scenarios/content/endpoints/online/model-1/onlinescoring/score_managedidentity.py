"""Scoring script: reads one blob as the endpoint's managed identity, twice.

First with plain HTTP calls, then with the Azure SDK, so that a deployment of
this script shows both ways working. Whatever fails raises out of init(), and
the deployment fails with the traceback.

Settings, from the deployment's environment_variables:
  STORAGE_ACCOUNT_NAME, STORAGE_CONTAINER_NAME, FILE_NAME   the blob
  UAI_CLIENT_ID                                             only with a user-assigned identity
"""

import json
import logging
import os

import joblib
import numpy
import requests
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobClient

STORAGE_AUDIENCE = "https://storage.azure.com/"

model = None


def blob_settings():
    """The account, container and file this deployment was told to read."""
    return (
        os.environ["STORAGE_ACCOUNT_NAME"],
        os.environ["STORAGE_CONTAINER_NAME"],
        os.environ["FILE_NAME"],
    )


def check(response):
    """Raise for a failed status, in the service's own words: raise_for_status()
    alone drops the body, and the body says why."""
    if not response.ok:
        raise requests.HTTPError(f"{response.status_code} from {response.url}: {response.text}", response=response)


def get_token_rest():
    """Ask the instance's own identity endpoint for a storage token.

    The documented pair of variables is MSI_ENDPOINT and MSI_SECRET; where only
    the newer pair is there, the newer protocol is spoken.
    """
    client_id = os.environ.get("UAI_CLIENT_ID")
    if "MSI_ENDPOINT" in os.environ:
        url = f"{os.environ['MSI_ENDPOINT']}?resource={STORAGE_AUDIENCE}"
        if client_id:
            url += f"&clientid={client_id}"
        headers = {"secret": os.environ["MSI_SECRET"], "Metadata": "true"}
    else:
        url = f"{os.environ['IDENTITY_ENDPOINT']}?api-version=2019-08-01&resource={STORAGE_AUDIENCE}"
        if client_id:
            url += f"&client_id={client_id}"
        headers = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}

    response = requests.get(url, headers=headers, timeout=30)
    check(response)
    logging.info("Token acquired over REST")
    return response.json()["access_token"]


def access_blob_storage_rest():
    """Read the blob with one GET and a bearer token."""
    account, container, file = blob_settings()
    url = f"https://{account}.blob.core.windows.net/{container}/{file}?api-version=2019-04-01"
    headers = {
        "Authorization": f"Bearer {get_token_rest()}",
        "x-ms-version": "2019-02-02",
        "x-ms-blob-type": "BlockBlob",
    }
    logging.info("Reading blob over REST: %s/%s", container, file)
    response = requests.get(url, headers=headers, timeout=60)
    check(response)
    logging.info("Blob contains: %s", response.text)


def access_blob_storage_sdk():
    """Read the blob with azure-identity and azure-storage-blob."""
    account, container, file = blob_settings()
    credential = ManagedIdentityCredential(client_id=os.environ.get("UAI_CLIENT_ID"))
    blob = BlobClient(
        account_url=f"https://{account}.blob.core.windows.net/",
        container_name=container,
        blob_name=file,
        credential=credential,
    )
    logging.info("Reading blob with the SDK: %s/%s", container, file)
    logging.info("Blob contains: %s", blob.download_blob().readall().decode("utf-8"))


def init():
    """Called once, before the first request: the blob, then the model."""
    global model
    logging.getLogger().setLevel(logging.INFO)
    access_blob_storage_rest()
    access_blob_storage_sdk()

    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "sklearn_regression_model.pkl")
    model = joblib.load(path)
    logging.info("Model loaded")
    logging.info("Init complete")


def run(raw_data):
    """Called for each request: rows in, one prediction for each row out."""
    logging.info("Request received")
    rows = numpy.array(json.loads(raw_data)["data"])
    result = model.predict(rows)
    logging.info("Request processed")
    return result.tolist()
