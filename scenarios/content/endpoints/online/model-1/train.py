"""Trains the model of this folder: a ridge regression over ten features of
data made up here, from a fixed seed.

    python train.py            writes model/sklearn_regression_model.pkl and
                               model/coefficients.json
    python train.py --check    trains again, compares with the files and loads
                               the pickle as a scoring script does

Run it in an environment with the pins of environment/conda-managedidentity.yml:
a pickle belongs to the scikit-learn it was written by. coefficients.json is the
same model for servers that are not Python.
"""

import json
import os
import sys

import joblib
import numpy
from sklearn.linear_model import Ridge

HERE = os.path.dirname(os.path.abspath(__file__))
PICKLE = os.path.join(HERE, "model", "sklearn_regression_model.pkl")
COEFFICIENTS = os.path.join(HERE, "model", "coefficients.json")
FEATURES = 10


def train():
    """The fitted model; the same numbers on every run."""
    random = numpy.random.default_rng(20240601)
    truth = numpy.array([3.0, -1.5, 0.0, 2.25, 7.0, -4.0, 0.5, 1.0, -2.0, 5.5])
    x = random.normal(size=(400, FEATURES))
    y = x @ truth + 12.0 + random.normal(scale=0.1, size=400)
    return Ridge(alpha=0.05, solver="cholesky").fit(x, y)


def export(model):
    """The model as a plain document."""
    return {
        "features": FEATURES,
        "intercept": float(model.intercept_),
        "coefficients": [float(c) for c in model.coef_],
    }


def check(model):
    """Fails unless both files hold the model just trained."""
    with open(COEFFICIENTS, encoding="utf-8") as f:
        stored = json.load(f)
    loaded = joblib.load(PICKLE)
    fresh = export(model)
    for name, other in (("coefficients.json", stored), ("pickle", export(loaded))):
        # Not bit for bit: linear algebra libraries differ in the last digits.
        numpy.testing.assert_allclose(other["coefficients"], fresh["coefficients"], rtol=1e-9, err_msg=name)
        numpy.testing.assert_allclose(other["intercept"], fresh["intercept"], rtol=1e-9, err_msg=name)
    with open(os.path.join(HERE, "sample-request.json"), encoding="utf-8") as f:
        rows = numpy.array(json.load(f)["data"])
    by_hand = rows @ numpy.array(stored["coefficients"]) + stored["intercept"]
    numpy.testing.assert_allclose(loaded.predict(rows), by_hand, rtol=1e-9)
    print("model files agree with train.py; sample predictions:", loaded.predict(rows).tolist())


def main():
    model = train()
    if sys.argv[1:] == ["--check"]:
        check(model)
        return
    os.makedirs(os.path.dirname(PICKLE), exist_ok=True)
    joblib.dump(model, PICKLE)
    with open(COEFFICIENTS, "w", encoding="utf-8") as f:
        json.dump(export(model), f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()
