"""The model: rates that were learned, and rules that were not."""

import mlflow.pyfunc
import numpy as np

ZONES = ("near", "far", "abroad")
LEAST = 3.9  # no parcel is sent for less


class Tariff(mlflow.pyfunc.PythonModel):
    """A price by weight and volume in each zone."""

    def fit(self, parcels, prices):
        self.rates = {}
        for zone in ZONES:
            rows = (parcels.zone == zone).to_numpy()
            self.rates[zone] = np.linalg.lstsq(_measures(parcels[rows]), prices[rows], rcond=None)[0].tolist()
        return self

    def predict(self, model_input):
        rates = np.array([self.rates[zone] for zone in model_input.zone])
        return np.maximum((_measures(model_input) * rates).sum(axis=1), LEAST)


def _measures(parcels):
    return np.column_stack([np.ones(len(parcels)), parcels.kilograms, parcels.liters])
