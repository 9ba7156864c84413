"""Scoring script: reads one blob as the endpoint's managed identity, with
plain HTTP calls only. See score_managedidentity.py for the settings."""

import json
import logging
import os

import joblib
import numpy
import requests

model = None


def check(response):
    """Raise for a failed status, in the service's own words: raise_for_status()
    alone drops the body, and the body says why."""
    if not response.ok:
        raise requests.HTTPError(f"{response.status_code} from {response.url}: {response.text}", response=response)


def get_token():
    """A storage token from the instance's own identity endpoint."""
    resource = "https://storage.azure.com/"
    client_id = os.environ.get("UAI_CLIENT_ID")
    if "MSI_ENDPOINT" in os.environ:
        url = f"{os.environ['MSI_ENDPOINT']}?resource={resource}"
        if client_id:
            url += f"&clientid={client_id}"
        headers = {"secret": os.environ["MSI_SECRET"], "Metadata": "true"}
    else:
        url = f"{os.environ['IDENTITY_ENDPOINT']}?api-version=2019-08-01&resource={resource}"
        if client_id:
            url += f"&client_id={client_id}"
        headers = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}
    response = requests.get(url, headers=headers, timeout=30)
    check(response)
    logging.info("Token acquired over REST")
    return response.json()["access_token"]


def read_blob():
    """The blob's text."""
    account = os.environ["STORAGE_ACCOUNT_NAME"]
    container = os.environ["STORAGE_CONTAINER_NAME"]
    file = os.environ["FILE_NAME"]
    logging.info("Reading blob over REST: %s/%s", container, file)
    response = requests.get(
        f"https://{account}.blob.core.windows.net/{container}/{file}?api-version=2019-04-01",
        headers={
            "Authorization": f"Bearer {get_token()}",
            "x-ms-version": "2019-02-02",
            "x-ms-blob-type": "BlockBlob",
        },
        timeout=60,
    )
    check(response)
    return response.text


def init():
    """Called once, before the first request."""
    global model
    logging.getLogger().setLevel(logging.INFO)
    logging.info("Blob contains: %s", read_blob())
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "sklearn_regression_model.pkl")
    model = joblib.load(path)
    logging.info("Model loaded")
    logging.info("Init complete")


def run(raw_data):
    """Called for each request: rows in, one prediction for each row out."""
    logging.info("Request received")
    result = model.predict(numpy.array(json.loads(raw_data)["data"]))
    logging.info("Request processed")
    return result.tolist()
