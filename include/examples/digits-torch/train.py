"""Which digit a picture shows: a small network of PyTorch.

python train.py
python train.py with hidden=128 epochs=100
"""

import numpy as np
import torch
from network import Digits
from sacred import Experiment
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from modelyard import log_data, log_model

ex = Experiment("digits-torch")


@ex.config
def config():
    hidden = 64  # neurons between the pixels and the digits
    epochs = 80  # how often it sees all pictures
    learning_rate = 0.01  # how far each step goes
    test_size = 0.3  # the share of the pictures that is kept for evaluation


@ex.automain
def main(_run, seed, hidden, epochs, learning_rate, test_size):
    torch.manual_seed(seed)
    frame = load_digits(as_frame=True).frame.rename(columns={"target": "digit"})
    train, evaluation = train_test_split(frame, test_size=test_size, stratify=frame.digit, random_state=seed)
    log_data(_run, "digits", train, role="train", target="digit")
    log_data(_run, "digits-evaluation", evaluation, role="evaluation", target="digit")

    X, y = train.drop(columns="digit").to_numpy(np.float32), torch.tensor(train.digit.to_numpy())
    unseen = torch.tensor(evaluation.drop(columns="digit").to_numpy(np.float32))
    truth = torch.tensor(evaluation.digit.to_numpy())
    model = Digits(X.shape[1], hidden)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    for epoch in range(epochs):
        model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model.scores(torch.from_numpy(X)), y)
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            _run.log_scalar("accuracy", float((model(unseen)["prediction"] == truth).float().mean()), epoch)
    log_model(_run, model, example=X[:5])
