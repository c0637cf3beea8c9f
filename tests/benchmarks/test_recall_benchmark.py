"""The benchmark of Recall@K: its parts on numbers, and the program on a few rows."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peers import Peer, PeerError, python_of
from benchmarks.recall import turn
from benchmarks.recall.agreement import agreement
from benchmarks.recall.contenders import CONTENDERS, Contender, find_contenders
from benchmarks.recall.report import disagreements, report, table
from benchmarks.recall.rounds import Turns, all_rounds
from benchmarks.recall.vectors import Vectors, read_vectors, write_vectors
from benchmarks.recall.works import NOT_FOUND, WORKS, first_positives

REPOSITORY = pathlib.Path(__file__).parents[2]
COUNT, DIM = 300, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors")
    write_vectors(path, COUNT, DIM, difficulty=1.0, seed=0)
    return path


@pytest.fixture(scope="module")
def vectors(folder):
    return read_vectors(folder)


def naive_ranks(rows, labels, most=NOT_FOUND):
    """Returns the place of the first positive of each query, by sorting in float64."""
    ranks = []
    for i, query in enumerate(np.asarray(rows, np.float64)):
        similarities = [float(query @ row) for row in np.asarray(rows, np.float64)]
        order = sorted(range(len(rows)), key=lambda j: -similarities[j])
        order.remove(i)
        place = 1 + [labels[j] == labels[i] for j in order].index(True)
        ranks.append(place if place <= most else NOT_FOUND)
    return np.array(ranks)


def of_name(name):
    return next(c for c in CONTENDERS if c.name == name)


def a_turn(ranks, seconds=1.0):
    result = {"seconds": {"search": seconds}, "peak_bytes": 10**6}
    return Turns([{**result, "settings": None, "versions": {}}], ranks, "")


def test_vectors_are_units_in_classes_of_two_or_more(vectors):
    assert vectors.rows.shape == (COUNT, DIM)
    assert vectors.rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors.rows, axis=1), 1, atol=1e-6)
    sizes = np.bincount(vectors.labels)
    assert sizes.min() >= 2
    assert len(sizes) == round(COUNT * 11316 / 60502)


def test_vectors_depend_on_the_seed_alone(vectors, tmp_path):
    for seed, same in ((0, True), (1, False)):
        write_vectors(tmp_path, COUNT, DIM, difficulty=1.0, seed=seed)
        assert np.array_equal(read_vectors(tmp_path).rows, vectors.rows) == same


def test_more_difficult_vectors_are_recalled_less(tmp_path):
    recall = []
    for difficulty in (0.1, 1.0, 10.0):
        write_vectors(tmp_path, COUNT, DIM, difficulty, seed=0)
        recall.append(np.mean(naive_ranks(*read_vectors(tmp_path)) == 1))
    assert recall[0] > 0.9
    assert recall == sorted(recall, reverse=True)
    assert recall[2] < 0.3


@pytest.mark.parametrize(
    ("count", "dim", "difficulty"), [(3, 16, 1.0), (300, 1, 1.0), (300, 16, 0.0)]
)
def test_impossible_vectors_are_refused(count, dim, difficulty, tmp_path):
    with pytest.raises(ValueError, match=f"got {count} rows, {dim} dimensions"):
        write_vectors(tmp_path, count, dim, difficulty, seed=0)


def test_a_query_is_no_neighbour_of_its_own_wherever_it_is_listed():
    labels = np.array([0, 0, 1, 1, 0])
    indices = np.array([[0, 2, 1], [2, 1, 0], [0, 1, 4], [2, -1, -1], [3, 2, 1]])
    expected = [2, 2, NOT_FOUND, 1, 3]
    np.testing.assert_array_equal(first_positives(indices, labels), expected)


@pytest.mark.parametrize("name", ["topk-11", "topk-1001", "sklearn-11", "scann-10"])
def test_lists_tell_the_rank_of_the_first_positive(name, vectors):
    contender = of_name(name)
    if contender.is_missing:
        pytest.skip(f"{contender.needs} is not installed")
    if contender.work == "sklearn":
        pytest.importorskip("sklearn")
    found = WORKS[contender.work](*vectors, **contender.options)
    expected = naive_ranks(*vectors, most=contender.largest_k)
    got = np.where(found.ranks <= contender.largest_k, found.ranks, NOT_FOUND)
    np.testing.assert_array_equal(got, expected)


def test_our_ranks_are_those_of_a_naive_search(vectors):
    found = WORKS["ours"](*vectors, ks=(1, 10))
    np.testing.assert_array_equal(found.ranks, naive_ranks(*vectors))


def test_scann_searches_the_share_of_leaves_that_it_is_asked_for(vectors):
    pytest.importorskip("scann")
    found = WORKS["scann"](*vectors, k=10, share=0.5)
    assert found.settings["leaves"] == 17  # the root of 300
    assert found.settings["leaves_to_search"] == 9
    answered = np.mean(found.ranks == naive_ranks(*vectors, most=10))
    assert 0.5 < answered < 1


def test_the_floor_multiplies_every_pair(vectors, monkeypatch):
    from benchmarks.recall import works

    pairs = []
    matmul = np.matmul

    def counted(a, b, out):
        pairs.append(out.size)
        return matmul(a, b, out=out)

    monkeypatch.setattr(works, "_ROWS", 70)
    monkeypatch.setattr(works, "_COLUMNS", 110)
    monkeypatch.setattr(works.np, "matmul", counted)
    assert WORKS["floor"](*vectors).ranks is None
    assert sum(pairs) == COUNT**2


def test_a_turn_tells_seconds_memory_and_versions(folder, tmp_path):
    order = {"folder": folder, "work": "topk", "options": {"k": 11}}
    ranks = tmp_path / "ranks.npy"
    result = turn.main({**order, "ranks": ranks, "libraries": ["tensorflow"]})
    assert result["seconds"]["search"] > 0
    assert result["peak_bytes"] is None or result["peak_bytes"] >= 0
    assert set(result["versions"]) == {"python", "numpy", "tensorflow"}
    assert len(np.load(ranks)) == COUNT


def test_ranks_that_differ_by_a_tie_agree():
    # The query's positive and a negative are as far from it, up to rounding.
    rows = np.array([[1, 0], [0.6, 0.8], [0.6, -0.8], [0, 1]], np.float32)
    vectors = Vectors(rows, np.array([0, 0, 1, 1]))
    ours, theirs = np.array([2, 2, 3, 3]), np.array([1, 2, 3, 3])
    found = agreement(vectors, ours, theirs, 1)
    assert found.points == 25
    assert found.unexplained == 0


def test_ranks_that_differ_without_a_tie_do_not_agree():
    rows = np.array([[1, 0], [0.8, 0.6], [0.6, -0.8], [0, 1]], np.float32)
    vectors = Vectors(rows, np.array([0, 0, 1, 1]))
    ours, theirs = np.array([1, 2, 3, 2]), np.array([2, 1, 3, 2])
    found = agreement(vectors, ours, theirs, 1)
    assert found.points == 0  # one lost and one won
    assert found.unexplained == 50


def test_only_an_exact_contender_that_is_off_is_a_disagreement(vectors):
    right = naive_ranks(*vectors)
    wrong = np.roll(right, 1)
    names = ("floor", "ours", "topk-11", "faiss-11", "scann-10")
    contenders = [of_name(name) for name in names]
    turns = dict(
        zip(
            names,
            [a_turn(None, 2.0), *(a_turn(r) for r in (right, right, wrong, wrong))],
            strict=True,
        )
    )
    rows = report(contenders, turns, vectors)
    told = disagreements(rows)
    assert told
    assert all(text.startswith("faiss") for text in told)
    assert rows["ours"]["over_floor"] == 0.5
    assert rows["floor"]["over_ours"] == 2.0
    assert rows["ours"]["recall"]["10"] == np.mean(right <= 10)
    assert "1000" not in rows["topk-11"]["recall"]
    lines = table({"contenders": rows}).splitlines()
    assert len(lines) == 2 + len(names)
    assert len({line.count("|") for line in lines}) == 1


def test_a_contender_in_trouble_does_not_stop_the_others(folder, tmp_path, capsys):
    fine = Contender("fine", "fine", "floor", {}, 0, False, ())
    contenders = [
        fine._replace(name="broken", title="broken", work="no such work"),
        fine._replace(name="missing", title="missing", needs="no_such_module"),
        fine,
    ]
    turns = all_rounds(contenders, folder, tmp_path, rounds=2, timeout=120)
    assert turns["broken"].trouble == "failed"
    assert turns["missing"].trouble == "not installed"
    assert len(turns["fine"].results) == 2
    out, err = capsys.readouterr()
    assert "round 2: fine: search" in out
    assert "KeyError: 'no such work'" in err
    rows = report(contenders, turns, read_vectors(folder))
    assert "| broken | failed |" in table({"contenders": rows})


def test_a_turn_that_takes_too_long_is_given_up(folder, tmp_path):
    contender = Contender("floor", "floor", "floor", {}, 0, False, ())
    turns = all_rounds([contender], folder, tmp_path, rounds=3, timeout=0.01)
    assert turns["floor"] == Turns([], None, "did not finish in 0.01 s")


def test_contenders_are_found_by_name_and_by_family():
    assert [c.name for c in find_contenders(["faiss", "ours"])] == [
        "ours",
        "faiss-11",
        "faiss-1001",
    ]
    assert find_contenders([]) == list(CONTENDERS)
    with pytest.raises(ValueError, match="got annoy"):
        find_contenders(["ours", "annoy"])


@pytest.fixture
def installs(monkeypatch):
    """The commands that would install, in place of doing so."""
    commands = []

    def run(command, **options):
        commands.append(command)
        if "venv" in command:
            python = pathlib.Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        if "unheard-of" in command:
            raise subprocess.CalledProcessError(1, command, stderr=b"no such thing\n")

    monkeypatch.setattr(peers.subprocess, "run", run)
    return commands


def test_a_complete_environment_is_used_again(installs, tmp_path):
    peer = Peer("some", ("thing>=1",))
    assert python_of(peer, tmp_path) == python_of(peer, tmp_path)
    assert len(installs) == 2
    python_of(Peer("some", ("thing>=2",)), tmp_path)
    assert len(installs) == 4


def test_a_half_made_environment_is_made_anew(installs, tmp_path):
    peer = Peer("some", ("thing",))
    (python_of(peer, tmp_path).parents[1] / "complete.txt").unlink()
    python_of(peer, tmp_path)
    assert len(installs) == 4


def test_of_a_peer_that_cannot_be_installed_nothing_is_left(installs, tmp_path):
    peer = Peer("some", ("unheard-of",))
    for _ in range(2):
        with pytest.raises(PeerError, match="some cannot be installed: no such thing"):
            python_of(peer, tmp_path)
        assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
        assert not peers.is_installed(peer, tmp_path)


@pytest.mark.parametrize("name", ["faiss-11", "faiss-1001", "sklearn-11"])
def test_peers_agree_in_their_own_environments(name, folder, vectors, tmp_path):
    contender = of_name(name)
    cache = REPOSITORY / ".venv-peers"
    if not peers.is_installed(contender.peer, cache):
        pytest.skip(
            f"no {contender.peer.name}; python -m benchmarks.recall installs it"
        )
    turns = all_rounds([contender], folder, cache, rounds=1, timeout=300)
    assert turns[name].trouble == ""
    ranks = naive_ranks(*vectors)
    for k in contender.ks:
        assert agreement(vectors, ranks, turns[name].ranks, k).unexplained == 0


def test_the_program_ends_well_and_tells_no_paths(tmp_path):
    out = tmp_path / "recall.json"
    command = [sys.executable, "-m", "benchmarks.recall", "--contenders=floor,ours"]
    options = ["--rows=200", "--dim=8", "--rounds=1", f"--out={out}"]
    process = subprocess.run(
        [*command, *options], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(out.read_text())
    assert result["vectors"] == {"rows": 200, "dim": 8, "difficulty": 1.3, "seed": 0}
    assert len(result["contenders"]["ours"]["seconds"]) == 1
    write_vectors(tmp_path, 200, 8, 1.3, 0)
    ranks = naive_ranks(*read_vectors(tmp_path))
    recall = {str(k): np.mean(ranks <= k) for k in (1, 10, 100, 1000)}
    assert result["contenders"]["ours"]["recall"] == recall
    assert "round 1: ms_keras" in process.stdout
    assert not [path for path in ("/tmp", str(REPOSITORY)) if path in out.read_text()]
