"""Experiments with the evidence of networks, against doing by hand what they say they do."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from deep import models  # noqa: E402
from deep.evidence import (  # noqa: E402
    NotStationaryWarning,
    evidence_identities,
    evidence_of_minima,
    laplace_log_evidence,
)
from deep.population import example_order  # noqa: E402
from store import datasets  # noqa: E402

SMALL = {
    "train_size": 30,
    "hidden": 4,
    "steps": 25,
    "seeds": 2,
    "batch_sizes": [7, 30],
    "prior_precisions": [0.1, 2.0],
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_hand(seed, labels, precision, batch, n=30, steps=25):
    """Train one network as the study says, and return its evidence and its accuracies."""
    train, test = datasets.draw("digits", None, None, 1200, seed=0)
    orders = [np.random.default_rng([s, 1]).permutation(len(train.labels))[:n] for s in range(2)]
    pool = np.unique(orders)  # all images that a seed trains on
    own = np.isin(pool, orders[seed])
    drawn = np.random.default_rng([seed, 2]).integers(10, size=len(pool))
    given = (train.labels[pool] if labels == "true" else drawn)[own]
    X, Z = (
        torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8)
        for pixels in (train.features()[pool][own], test.features())
    )
    y, wanted = torch.tensor(given), torch.tensor(test.labels)
    generator = torch.Generator().manual_seed(seed)
    options = {"input_shape": (1, 8, 8), "classes": 10, "widths": (4,), "law": "glorot"}
    model = models.build("mlp", generator=generator, **options)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=precision / n
    )
    batches, epoch = [], 0
    for step in range(steps):
        if not batches:
            batches = list(example_order([seed], epoch, n)[0].split(batch))
            epoch += 1
        index = batches.pop(0)
        optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, (1 - step / steps) / 0.4)
        optimizer.zero_grad()
        cross_entropy(model(X[index]), y[index]).backward()
        optimizer.step()
    with pytest.warns(NotStationaryWarning):
        evidence = laplace_log_evidence(model, (X, y), prior_precision=precision, curvature="dual")
    with torch.no_grad():
        accuracies = [
            float((model(inputs).argmax(1) == wished).double().mean())
            for inputs, wished in ((X, y), (Z, wanted))
        ]
    return evidence, accuracies


@pytest.mark.parametrize(
    ("seed", "labels", "precision", "batch"),
    [(0, "true", 0.1, 7), (1, "random", 2.0, 7), (1, "true", 2.0, 30), (0, "random", 0.1, 30)],
)
def test_a_minimum_is_what_training_and_laplace_by_hand_make_it(seed, labels, precision, batch):
    found = evidence_of_minima(**SMALL).sel(
        seed=seed, labels=labels, prior_precision=precision, batch_size=batch
    )
    evidence, (train_accuracy, test_accuracy) = by_hand(seed, labels, precision, batch)
    for name in ("log_evidence", "log_evidence_ratio", "log_occam_factor", "newton_gain"):
        assert found[name].item() == pytest.approx(getattr(evidence, name), rel=1e-4)
    assert found.train_accuracy.item() == train_accuracy
    assert found.test_accuracy.item() == pytest.approx(test_accuracy, abs=1e-12)
    assert found.log_evidence.attrs["units"] == "nat"


def test_the_same_call_gives_the_same_and_seeds_differ():
    first, again = evidence_of_minima(**SMALL), evidence_of_minima(**SMALL)
    assert first.identical(again)
    assert (first.log_evidence.sel(seed=0) != first.log_evidence.sel(seed=1)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps must be"),
        ({"seeds": 0}, "seeds must be"),
        ({"train_size": 0}, "train_size must be"),
        ({"train_size": 598, "batch_sizes": [8]}, "train_sizes must be at most 597"),
        ({"prior_precisions": [1.0, 0.0]}, "prior_precisions must be positive"),
        ({"batch_sizes": [31]}, "batch_size must be at most N = 30, got 31"),
        ({"law": "none"}, "law is 'none'"),
        ({"hidden": 0}, "widths"),
    ],
)
def test_mistakes_of_the_minima(changed, message):
    with pytest.raises(ValueError, match=message):
        evidence_of_minima(**{**SMALL, **changed})


def test_identities_hold():
    found = evidence_identities(train_size=30, hidden=3, seed=1)
    assert abs(found.linear_error).max() < 1e-8
    assert 0.0 < found.null_ratio < 0.3
    assert (abs(found.rescaled) < 1e-8 * abs(found.log_evidence)).all()
    law = found.sharpness * found.scale**2
    np.testing.assert_allclose(law, law[0], rtol=1e-6)
    assert found.sharpness.max() > 1e10 * found.sharpness.min()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scales": [1.0, 0.0]}, "scales must be positive"),
        ({"prior_precisions": [0.0]}, "prior_precision"),
        ({"hidden": 0}, "widths"),
        ({"train_size": 0}, "train_size"),
    ],
)
def test_mistakes_of_the_identities(changed, message):
    with pytest.raises(ValueError, match=message):
        evidence_identities(**{"train_size": 20, "hidden": 2, **changed})
