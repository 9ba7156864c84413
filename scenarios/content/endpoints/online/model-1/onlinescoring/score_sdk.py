"""Scoring script: reads one blob with DefaultAzureCredential and the storage
SDK only. See score_managedidentity.py for the settings.

DefaultAzureCredential takes the first credential that works, so this script
also shows whether anything of the deployer's leaks into the instance: without
a role of the endpoint's own it must fail.
"""

import json
import logging
import os

import joblib
import numpy
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobClient

model = None


def read_blob():
    """The blob's text."""
    blob = BlobClient(
        account_url=f"https://{os.environ['STORAGE_ACCOUNT_NAME']}.blob.core.windows.net/",
        container_name=os.environ["STORAGE_CONTAINER_NAME"],
        blob_name=os.environ["FILE_NAME"],
        credential=DefaultAzureCredential(managed_identity_client_id=os.environ.get("UAI_CLIENT_ID")),
    )
    logging.info("Reading blob with the SDK: %s/%s", blob.container_name, blob.blob_name)
    return blob.download_blob().readall().decode("utf-8")


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
