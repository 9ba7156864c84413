"""Scoring script: uses secrets that the deployment's environment variables were
filled with. It asks nobody for them: no token, no client, no code of its own.

SECRET_VARIABLES names the variables, with commas between. Of each secret the
log shows how long it is and how its hash begins: never print a secret.
"""

import hashlib
import json
import logging
import os

import joblib
import numpy

model = None


def show(name):
    """Enough of a secret to compare it by."""
    value = os.environ[name]
    if "${{" in value:
        raise ValueError(f"{name} holds the reference itself")
    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    logging.info("Secret %s: %d characters, sha256 %s", name, len(value), digest)


def init():
    """Called once, before the first request."""
    global model
    logging.getLogger().setLevel(logging.INFO)
    for name in os.environ["SECRET_VARIABLES"].split(","):
        show(name)
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
