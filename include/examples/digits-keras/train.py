"""Which digit a picture shows: a small network of Keras, on JAX.

python train.py
python train.py with hidden=128 epochs=30
"""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported

import keras
import numpy as np
from sacred import Experiment
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from modelyard import log_data, log_model

ex = Experiment("digits-keras")


@ex.config
def config():
    hidden = 64  # neurons between the pixels and the digits
    epochs = 12  # how often it sees all pictures
    test_size = 0.3  # the share of the pictures that is kept for evaluation


@ex.automain
def main(_run, seed, hidden, epochs, test_size):
    keras.utils.set_random_seed(seed)
    frame = load_digits(as_frame=True).frame.rename(columns={"target": "digit"})
    train, evaluation = train_test_split(frame, test_size=test_size, stratify=frame.digit, random_state=seed)
    log_data(_run, "digits", train, role="train", target="digit")
    log_data(_run, "digits-evaluation", evaluation, role="evaluation", target="digit")

    X, unseen = (part.drop(columns="digit").to_numpy(np.float32) for part in (train, evaluation))
    pixels = keras.Input((X.shape[1],), name="pixels")
    inside = keras.layers.Dense(hidden, activation="relu")(keras.layers.Rescaling(1 / 16)(pixels))
    probability = keras.layers.Dense(10, activation="softmax")(keras.layers.Dropout(0.2)(inside))
    network = keras.Model(pixels, probability)
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(X, train.digit, epochs=epochs, validation_data=(unseen, evaluation.digit), verbose=0).history
    for epoch, accuracy in enumerate(history["val_accuracy"]):
        _run.log_scalar("accuracy", float(accuracy), epoch)

    # The same network, answering the digit as well.
    digit = keras.ops.argmax(probability, axis=1)
    log_model(_run, keras.Model(pixels, {"prediction": digit, "probability": probability}), example=X[:5])
