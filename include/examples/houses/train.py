"""What a house costs. The data are declared in model.yaml; a run finds the path of each set in `data`.

python train.py
python train.py with trees=300 data.houses=/tmp/other-houses.csv
"""

import pandas as pd
from sacred import Experiment
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelyard import log_model

ex = Experiment("houses")


@ex.config
def config():
    data = {"houses": "data/houses.csv", "houses-eval": "data/houses-eval.csv"}
    trees = 200  # how many small corrections the model is made of
    learning_rate = 0.1  # how much of each correction is taken
    depth = 3  # how many questions a tree may ask in a row


@ex.automain
def main(_run, seed, data, trees, learning_rate, depth):
    train, evaluation = pd.read_csv(data["houses"]), pd.read_csv(data["houses-eval"])
    X, y = train.drop(columns="price"), train.price
    X_evaluation, y_evaluation = evaluation.drop(columns="price"), evaluation.price

    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["district", "garden"]),
            (SimpleImputer(strategy="median"), ["year"]),
            remainder="passthrough",
        ),
        GradientBoostingRegressor(n_estimators=trees, learning_rate=learning_rate, max_depth=depth, random_state=seed),
    )
    model.fit(X, y)

    prepared = model[0].transform(X_evaluation)
    for count, prices in enumerate(model[-1].staged_predict(prepared), start=1):
        if count % 10 == 0:
            _run.log_scalar("rmse", root_mean_squared_error(y_evaluation, prices), count)
    _run.log_scalar("r2", r2_score(y_evaluation, model.predict(X_evaluation)))
    log_model(_run, model, example=X[:5], training=X)
