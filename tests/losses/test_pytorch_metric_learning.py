"""Second opinions: our losses against pytorch-metric-learning.

Ours give one value per anchor. Unless a test says otherwise the peer sums over the
pairs, triplets or anchors that it forms, and the sum over our anchors is that same sum.
All rows are float64.
"""

import contextlib
import importlib

import numpy as np
import pytest
from family import masks, tangent
from naive import unit_rows
from opinions import (
    assert_same,
    clashes,
    duplicates,
    even,
    every_batch,
    on_batches,
    ours,
    random_sizes,
    two_or_more,
)

from ms_keras import losses
from ms_keras.losses import engine
from ms_keras.training.memory import CrossBatchMemory


@pytest.fixture(scope="module")
def peer():
    """pytorch-metric-learning, with the parts that the tests use."""
    why = "pytorch-metric-learning is an extra of the tests"
    package = pytest.importorskip("pytorch_metric_learning", reason=why)
    for part in ("distances", "losses", "miners", "reducers"):
        importlib.import_module(f"{package.__name__}.{part}")
    return package


def theirs(loss, labels, rows, *references, pairs=None, scale=1.0):
    """Returns the value of a loss of pytorch-metric-learning and its gradients.

    Args:
        loss: It, or a function of the same arguments.
        labels: `[m]` ids.
        rows: `[m, dim]` floats.
        *references: `[n]` ids and `[n, dim]` floats, or nothing.
        pairs: What a miner found.
        scale: Factor on similarities where the loss itself has none.
    """
    import torch

    inputs = [
        torch.tensor(part, requires_grad=True) for part in (rows, *references[1:])
    ]
    scaled = [torch.nn.functional.normalize(part) * scale**0.5 for part in inputs]
    arguments = {"ref_emb": scaled[1]} if references else {}
    if references:
        arguments["ref_labels"] = torch.tensor(references[0])
    value = loss(scaled[0], torch.tensor(labels), pairs, **arguments)
    value.backward()
    return value.item(), *(part.grad.numpy() for part in inputs)


@contextlib.contextmanager
def double_precision():
    """Makes float64 the default of torch for a while."""
    import torch

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def summed(peer, name, distance=None, **parameters):
    """Returns the peer's loss of that name, on cosines, with sums for means."""
    distance = peer.distances.CosineSimilarity() if distance is None else distance
    return getattr(peer.losses, name)(
        reducer=peer.reducers.SumReducer(), distance=distance, **parameters
    )


@every_batch
@pytest.mark.parametrize("lambda_", [0.5, -0.2])
def test_contrastive_is_that_of_the_peer_with_a_positive_margin_of_1(
    peer, labels, rows, lambda_
):
    loss = summed(peer, "ContrastiveLoss", pos_margin=1, neg_margin=lambda_)
    our = ours(losses.contrastive_loss, labels, rows, lambda_=lambda_)
    assert_same(our, theirs(loss, labels, rows))


@every_batch
@pytest.mark.parametrize("margin", [0.1, 0.7])
def test_triplet_over_all_triplets_is_that_of_the_peer(peer, labels, rows, margin):
    loss = summed(peer, "TripletMarginLoss", margin=margin, triplets_per_anchor="all")
    our = ours(losses.triplet_loss, labels, rows, margin=margin)
    assert_same(our, theirs(loss, labels, rows))


# Only without duplicates: of equally hard rows the peer takes one, ours take a share.
@on_batches(even, random_sizes)
def test_hard_triplets_are_those_of_the_peers_batch_hard_miner(peer, labels, rows):
    import torch

    cosine = peer.distances.CosineSimilarity()
    miner = peer.miners.BatchHardMiner(distance=cosine)
    triplets = miner(torch.tensor(rows), torch.tensor(labels))
    loss = summed(peer, "TripletMarginLoss", margin=0.3)
    our = ours(losses.triplet_loss, labels, rows, margin=0.3, selection="hard")
    assert_same(our, theirs(loss, labels, rows, pairs=triplets))


# The peer's "semihard" is another rule: all triplets within the margin, or one negative
# by the hardest positive. Addons has FaceNet's: see there.


@on_batches(even, two_or_more, random_sizes, clashes)
@pytest.mark.parametrize("margin", [1.0, -1.2])
def test_lifted_structure_is_the_peers_generalized_one(peer, labels, rows, margin):
    # An empty sum is 0 after its logarithm there, and closes the hinge here: anchors
    # that lack pairs of one sign are left out.
    loss = peer.losses.GeneralizedLiftedStructureLoss(
        pos_margin=margin,
        neg_margin=0,
        distance=peer.distances.CosineSimilarity(),
        reducer=peer.reducers.DoNothingReducer(),
    )
    complete = np.logical_and(*(mask.any(axis=1) for mask in masks(labels)))

    def sum_of_complete(*arguments):
        return loss(*arguments)["loss"]["losses"][complete].sum()

    our = ours(losses.lifted_structure_loss, labels, rows, margin=margin)
    assert (our[0][~complete] == 0).all()
    assert_same(our, theirs(sum_of_complete, labels, rows))


@on_batches(even, random_sizes, duplicates, clashes)
def test_lifted_star_is_the_limit_of_the_peers_multi_similarity(peer, labels, rows):
    # (1/a) log[1 + sum e^(a (shift - S))] loses its 1 to rounding once a shift > 40,
    # and is then shift + (1/a) log sum e^(-a S); likewise with -shift for negatives.
    import torch

    alpha, beta, shift = 2.0, 40.0, 40.0
    positive, negative = masks(labels)
    complete = positive.any(axis=1) & negative.any(axis=1)
    nothing = (torch.tensor([], dtype=torch.long),) * 2
    at = {"distance": peer.distances.CosineSimilarity(), "alpha": alpha, "beta": beta}
    at["reducer"] = peer.reducers.DoNothingReducer()

    def side(base, pairs, rows, labels):
        loss = peer.losses.MultiSimilarityLoss(base=base, **at)
        anchors = loss(rows, labels, pairs)["loss"]["losses"][complete]
        return (anchors - shift).sum()

    def both(rows, labels, _):
        pulls, pushes = (
            tuple(map(torch.tensor, np.nonzero(mask & complete[:, None])))
            for mask in (positive, negative)
        )
        return side(shift, pulls + nothing, rows, labels) + side(
            -shift, nothing + pushes, rows, labels
        )

    our = ours(losses.lifted_star_loss, labels, rows, alpha=alpha, beta=beta)
    assert (our[0][~complete] == 0).all()
    assert_same(our, theirs(both, labels, rows))


@every_batch
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_nca_is_that_of_the_peer(peer, labels, rows, scale):
    # Anchors without positives give 0 on both sides.
    loss = summed(peer, "NCALoss", softmax_scale=scale)
    our = ours(losses.nca_loss, labels, rows, scale=scale)
    assert_same(our, theirs(loss, labels, rows))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_n_pairs_with_one_positive_per_class_is_that_of_the_peer(peer, seed, scale):
    # The peer takes the first two rows of each class: the one as the anchor, against
    # the others of all classes. Its factor on similarities is that of unnormalised
    # rows.
    rng = np.random.default_rng(seed)
    queries, gallery, ids = unit_rows(rng, 7, 5), unit_rows(rng, 7, 5), np.arange(7)
    gallery[3] = queries[4]
    dot = peer.distances.DotProductSimilarity(normalize_embeddings=False)
    rows, labels = np.concatenate([queries, gallery]), np.tile(ids, 2)
    their = theirs(summed(peer, "NPairsLoss", dot), labels, rows, scale=scale)
    our = ours(losses.n_pairs_loss, ids, queries, ids, gallery, scale=scale)
    assert_same((our[0], np.concatenate(our[1:])), their)


# Not with singletons: their negative pairs among themselves count here, not there. Nor
# with duplicates: a similarity of 1 is out of range there.
@on_batches(even, two_or_more)
@pytest.mark.parametrize("bins", [2, 11, 151])
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_histogram_is_that_of_the_peer_with_one_bin_less_than_nodes(
    peer, labels, rows, bins
):
    # One number for the batch: our sum over anchors has it as often as there are.
    loss = peer.losses.HistogramLoss(n_bins=bins - 1)
    values, gradient = ours(losses.histogram_loss, labels, rows, bins=bins)
    np.testing.assert_allclose(values, values[0])
    with double_precision():  # the peer's nodes are torch's default floats
        their = theirs(loss, labels, rows)
    assert_same((values[0], gradient / len(rows)), their)


# Our distances are sqrt(D^2 + 1e-6): longer by 5e-7 / D, less steep by 5e-7 / D^3.
NEARLY = {"rtol": 1e-5, "atol": 1e-3}


@pytest.mark.parametrize("seed", range(3))
def test_margin_is_that_of_the_peer_where_triplets_repeat_all_pairs_alike(peer, seed):
    # The peer sums over triplets, which repeat a positive pair |N| times and a negative
    # one |P| times. Three and three for each query: the sum is three times ours.
    rng = np.random.default_rng(seed)
    queries, gallery = unit_rows(rng, 5, 4), unit_rows(rng, 6, 4)
    labels, gallery_labels = np.array([0, 1, 0, 1, 1]), np.repeat([0, 1], 3)
    euclidean = peer.distances.LpDistance()
    loss = summed(peer, "MarginLoss", euclidean, nu=0, beta=1.2, margin=0.2)
    value, *gradients = theirs(loss, labels, queries, gallery_labels, gallery)
    our = ours(losses.margin_loss, labels, queries, gallery_labels, gallery)
    assert_same(our, (value / 3, *(part / 3 for part in gradients)), **NEARLY)


@on_batches(even, random_sizes, duplicates)
def test_margin_weights_repeated_as_in_triplets_give_the_peers_gradient(
    peer, labels, rows
):
    euclidean = peer.distances.LpDistance()
    loss = summed(peer, "MarginLoss", euclidean, nu=0, beta=1.1, margin=0.3)
    _, gradient = theirs(loss, labels, rows)
    positive, negative = masks(labels)
    repeats = np.where(
        positive, negative.sum(axis=1)[:, None], positive.sum(axis=1)[:, None]
    )
    weights = losses.MarginLoss(beta=1.1, margin=0.3).pair_weights(labels, rows)
    weights = weights.numpy() * repeats
    assert (weights != 0).any()
    expected = tangent((weights + weights.T) @ rows, rows)
    np.testing.assert_allclose(gradient, expected, **NEARLY)


@every_batch
@pytest.mark.parametrize("lambda_", [0.5, 1.0])
def test_multi_similarity_without_mining_is_that_of_the_peer(
    peer, labels, rows, lambda_
):
    loss = summed(peer, "MultiSimilarityLoss", alpha=2, beta=40, base=lambda_)
    our = ours(
        losses.multi_similarity_loss, labels, rows, lambda_=lambda_, mining=False
    )
    assert_same(our, theirs(loss, labels, rows))


@every_batch
@pytest.mark.parametrize("epsilon", [0.1, -0.1, 1.0])
def test_multi_similarity_is_the_peers_loss_after_its_miner(
    peer, labels, rows, epsilon
):
    import torch

    pairs = peer.miners.MultiSimilarityMiner(epsilon)(
        torch.tensor(rows), torch.tensor(labels)
    )
    loss = summed(peer, "MultiSimilarityLoss", alpha=3, beta=30, base=0.4)
    parameters = {"alpha": 3.0, "beta": 30.0, "lambda_": 0.4, "epsilon": epsilon}
    our = ours(losses.multi_similarity_loss, labels, rows, **parameters)
    assert_same(our, theirs(loss, labels, rows, pairs=pairs))


@pytest.mark.parametrize(
    ("loss", "name", "parameters"),
    [
        (losses.ContrastiveLoss(), "Contrastive", {"pos_margin": 1, "neg_margin": 0.5}),
        (losses.TripletLoss(), "TripletMargin", {"margin": 0.1}),
        (
            losses.MultiSimilarityLoss(mining=False),
            "MultiSimilarity",
            {"alpha": 2, "beta": 40, "base": 0.5},
        ),
    ],
    ids=["contrastive", "triplet", "multi_similarity"],
)
def test_a_memory_is_the_peers_without_the_batch_that_it_holds_too(
    peer, loss, name, parameters
):
    import torch

    inner = summed(peer, f"{name}Loss", **parameters)
    peers_memory = peer.losses.CrossBatchMemory(inner, 5, 20)
    memory = CrossBatchMemory(12, 5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows = unit_rows(rng, 8, 5).astype("f4")
        labels = rng.integers(0, 3, 8)
        our = engine.pair_losses(loss.recipe, labels, rows, memory=memory.contents())
        memory.remember(labels, rows)
        their = peers_memory(torch.tensor(rows), torch.tensor(labels))
        np.testing.assert_allclose(np.sum(our), their.item(), rtol=1e-5)
