"""The experiment: plain Sacred, with one call that saves the model.

    python train.py with C=0.1
"""

import pandas as pd
from sacred import Experiment
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard import log_model

ex = Experiment("NAME")


@ex.config
def config():
    data = {"flowers": "data/flowers.csv", "flowers-evaluation": "data/flowers-evaluation.csv"}
    C = 1.0  # how little the weights are held back: small values make a simpler model


@ex.automain
def main(_run, data, C):
    train, evaluation = pd.read_csv(data["flowers"]), pd.read_csv(data["flowers-evaluation"])
    X, y = train.drop(columns="species"), train.species
    X_evaluation, y_evaluation = evaluation.drop(columns="species"), evaluation.species

    # What prepares the data is part of the model, so that the service takes rows as they are in the file.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C))
    model.fit(X, y)

    accuracy = accuracy_score(y_evaluation, model.predict(X_evaluation))
    _run.log_scalar("accuracy", accuracy)
    log_model(_run, model, example=X[:5], training=X)
    return accuracy
