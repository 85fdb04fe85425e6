"""What a parcel costs: a model of MLflow's. **The parcels are made up.**

python train.py with parcels=1000
"""

import numpy as np
import pandas as pd
from sacred import Experiment
from tariff import LEAST, ZONES, Tariff

from modelyard import log_data, log_model

ex = Experiment("parcels-pyfunc")


@ex.config
def config():
    parcels = 400  # how many parcels there are to learn from


def sent(count, seed):
    chance = np.random.default_rng(seed)
    zone = chance.choice(ZONES, count)
    kilograms, liters = chance.gamma(2.0, 2.0, count).round(2), chance.gamma(3.0, 4.0, count).round(1)
    rate = pd.Series(zone).map({"near": 0.6, "far": 1.1, "abroad": 2.8}).to_numpy()
    price = 2.5 + kilograms * rate + liters * rate * 0.12 + chance.normal(0, 0.3, count)
    table = {"zone": zone, "kilograms": kilograms, "liters": liters, "price": np.maximum(price, LEAST).round(2)}
    return pd.DataFrame(table)


@ex.automain
def main(_run, seed, parcels):
    train, evaluation = sent(parcels, seed), sent(200, seed + 1)
    log_data(_run, "parcels", train, role="train", target="price")
    log_data(_run, "parcels-evaluation", evaluation, role="evaluation", target="price")

    X, X_evaluation = train.drop(columns="price"), evaluation.drop(columns="price")
    model = Tariff().fit(X, train.price.to_numpy())
    error = model.predict(X_evaluation) - evaluation.price
    _run.log_scalar("rmse", float(np.sqrt((error**2).mean())))
    log_model(_run, model, example=X[:5])
