"""The whole table on a MURA-shaped tree, every number of it recomputed here from the definitions."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from monai_bone_ssl.bootstrap import cluster_bootstrap
from monai_bone_ssl.errors import ConfigError, ReasonCode
from monai_bone_ssl.training.comparison.compare import compare
from monai_bone_ssl.training.comparison.metadata import MetadataBaseline
from monai_bone_ssl.training.comparison.outcome import Comparison, SuspectLabel
from monai_bone_ssl.training.comparison.predictions import file_name
from monai_bone_ssl.training.comparison.protocol import make_protocol
from monai_bone_ssl.training.data import LabelledDataset, load_dataset
from training.comparison.mura_tree import write_mura

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOSTILE = "<script>document.title='owned'</script>\u202e & co"


@dataclass
class Brightness:
    """A fake row: a logistic curve on the mean grey level, centred between the training classes' means."""

    name: str = "brightness"
    description: str = "Mean grey level"
    steepness: float = 8.0
    first_seed_only: bool = False
    calls: list[int] = field(default_factory=list)
    """Seeds of the predictions that were really computed."""

    @property
    def recipe(self) -> str:
        return f"brightness {self.steepness}"

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int) -> Floats:
        assert not set(dataset.groups[train]) & set(dataset.groups[test])
        self.calls.append(seed)
        grey = np.array([_grey(image.path) for image in dataset.images])
        labels = dataset.labels[train]
        centre = (grey[train][labels == 1].mean() + grey[train][labels == 0].mean()) / 2
        return np.asarray(1 / (1 + np.exp(-self.steepness * (grey[test] - centre))))

    def evidence(self, dataset: LabelledDataset, train: Ints, images: Ints) -> dict[int, NDArray[np.float32]]:
        assert not set(dataset.groups[train]) & set(dataset.groups[images])
        return {int(i): np.eye(3, 2, dtype=np.float32) for i in images}


@dataclass
class Interrupted(Brightness):
    """Stops in its second prediction, as a user would."""

    def predict(self, dataset: LabelledDataset, train: Ints, test: Ints, seed: int) -> Floats:
        if len(self.calls) == 1:
            raise KeyboardInterrupt
        return super().predict(dataset, train, test, seed)


def _grey(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image).mean() / 255)


def run(
    dataset: LabelledDataset, out: Path, *methods: Any, baseline: str = "metadata", **options: Any
) -> Any:
    defaults: dict[str, Any] = {"command": "bone-ssl compare mura -o out", "embed_images": True}
    return compare(dataset, make_protocol(dataset), methods, out, baseline=baseline, **(defaults | options))


@pytest.fixture(scope="module")
def mura(tmp_path_factory: pytest.TempPathFactory) -> LabelledDataset:
    return load_dataset(write_mura(tmp_path_factory.mktemp("mura")))


@pytest.fixture(scope="module")
def compared(mura: LabelledDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    out = tmp_path_factory.mktemp("compared")
    rows = (MetadataBaseline(), Brightness(), Brightness(HOSTILE, steepness=2.0))
    suspects = [
        SuspectLabel(image.name, image.label, image.part, 0.01 * i) for i, image in enumerate(mura.images)
    ]
    found = run(mura, out, *rows, suspects=suspects, probe_scope="one for all parts")
    return found, out


# --- the table by hand ---


def _predictions(out: Path, name: str) -> list[dict[str, str]]:
    """What the run stored of one row; one file, as the split is held out."""
    (path,) = (out / "predictions" / file_name(name)).glob("*.csv")
    return _read(path)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _by_hand(rows: list[tuple[int, float]]) -> dict[str, float]:
    """Figures of (label, probability) pairs by counting; the area under the curve pair by pair."""
    tp = sum(y == 1 and p >= 0.5 for y, p in rows)
    fn = sum(y == 1 and p < 0.5 for y, p in rows)
    tn = sum(y == 0 and p < 0.5 for y, p in rows)
    fp = sum(y == 0 and p >= 0.5 for y, p in rows)
    n = len(rows)
    chance = ((tp + fn) * (tp + fp) + (tn + fp) * (tn + fn)) / n**2
    wins = [1.0 if p > q else 0.5 if p == q else 0.0 for y, p in rows if y == 1 for z, q in rows if z == 0]
    bins: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for y, p in rows:
        bins[min(14, int(p * 15))].append((y, p))
    return {
        "accuracy": (tp + tn) / n,
        "auroc": sum(wins) / len(wins),
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "kappa": ((tp + tn) / n - chance) / (1 - chance),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "ece": sum(abs(sum(p for _, p in b) - sum(y for y, _ in b)) for b in bins.values()) / n,
    }


def _studies(stored: list[dict[str, str]]) -> list[tuple[str, int, float]]:
    """(part, label, mean probability) of each study."""
    members: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in stored:
        members[row["path"].rsplit("/", 1)[0]].append(row)
    return [
        (rows[0]["part"], int(rows[0]["label"]), sum(float(r["probability"]) for r in rows) / len(rows))
        for rows in members.values()
    ]


def test_every_number_of_the_table_by_hand(compared: tuple[Comparison, Path]) -> None:
    comparison, out = compared
    with (out / "table.csv").open(newline="") as file:
        table = {(line["level"], line["figure"], line["row"]): line for line in csv.DictReader(file)}
    assert len(table) == 2 * 7 * 3
    checked = 0
    for row in comparison.rows:
        stored = _predictions(out, row.name)
        images = [(line["part"], int(line["label"]), float(line["probability"])) for line in stored]
        for level, entries in (("image", images), ("study", _studies(stored))):
            parts = sorted({part for part, _, _ in entries})
            assert len(parts) == 7
            by_column = {part: _by_hand([(y, p) for q, y, p in entries if q == part]) for part in parts}
            expected: dict[str, dict[str, float]] = dict(by_column)
            expected["All"] = _by_hand([(y, p) for _, y, p in entries])
            expected["Mean of parts"] = {
                figure: sum(by_column[part][figure] for part in parts) / 7 for figure in expected["All"]
            }
            for column, figures in expected.items():
                for figure, value in figures.items():
                    line = table[level, figure, row.name]
                    assert float(line[column]) == pytest.approx(value, abs=1e-12), (level, column, figure)
                    assert float(line[f"{column} low"]) <= value + 1e-12
                    assert value <= float(line[f"{column} high"]) + 1e-12
                    checked += 1
    assert checked == 3 * 2 * 9 * 7


def test_intervals_of_the_mean_over_parts_by_a_loop(compared: tuple[Comparison, Path]) -> None:
    """The first 200 resamples of patients, accuracy and AUROC of each part by scikit-learn, averaged."""
    comparison, out = compared
    stored = _predictions(out, "brightness")
    parts = np.array([line["part"] for line in stored])
    labels = np.array([int(line["label"]) for line in stored])
    probabilities = np.array([float(line["probability"]) for line in stored])
    patients = np.array([re.findall(r"patient\d+", line["path"])[0] for line in stored])
    weights = cluster_bootstrap(lambda w: w, patients)
    means = []
    for weight in weights:
        values = []
        for part in np.unique(parts):
            drawn = np.repeat(np.flatnonzero(parts == part), weight[parts == part].astype(int))
            values.append(np.mean((probabilities[drawn] >= 0.5) == labels[drawn]))
        means.append(np.mean(values))
    mean = comparison.row("brightness").mean_over_parts
    assert mean is not None
    assert (mean.accuracy.ci_low, mean.accuracy.ci_high) == pytest.approx(
        tuple(np.percentile(means, (2.5, 97.5)))
    )


def test_json_is_strict_and_reads_back(compared: tuple[Comparison, Path]) -> None:
    comparison, out = compared

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (out / "comparison.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    assert msgspec.json.decode(text, type=Comparison) == comparison
    metrics = content["rows"][1]["metrics"]
    for name in ("auroc", "accuracy", "balanced_accuracy", "kappa", "sensitivity", "specificity", "ece"):
        for block in (metrics, metrics["study_level"], *metrics["per_part"].values()):
            assert {"value", "ci_low", "ci_high"} <= block[name].keys()
    assert set(metrics["per_part"]) == {"elbow", "finger", "forearm", "hand", "humerus", "shoulder", "wrist"}
    assert content["protocol"]["kind"] == "held_out"
    assert content["data"]["parts"]["elbow"]["test_positive"] > 20
    assert [row["against_baseline"] is None for row in content["rows"]] == [True, False, False]


def test_differences_to_the_baseline(compared: tuple[Comparison, Path]) -> None:
    comparison, out = compared
    base, row = _predictions(out, "metadata"), _predictions(out, "brightness")
    y = np.array([int(line["label"]) for line in row])
    p, q = (np.array([float(line["probability"]) for line in lines]) for lines in (row, base))
    pair = comparison.row("brightness").against_baseline
    assert pair is not None
    right, base_right = (p >= 0.5) == y, (q >= 0.5) == y
    assert pair.all.accuracy.value == pytest.approx(right.mean() - base_right.mean())
    assert pair.all.auroc.value == pytest.approx(roc_auc_score(y, p) - roc_auc_score(y, q))
    assert pair.mcnemar.only_first_right == int((right & ~base_right).sum())
    assert comparison.row("brightness").metrics.kappa.value == pytest.approx(cohen_kappa_score(y, p >= 0.5))


# --- protocol ---


def test_held_out_split_is_read_once(mura: LabelledDataset, tmp_path: Path) -> None:
    method = Brightness()
    comparison = run(mura, tmp_path, method, baseline="brightness")
    assert method.calls == [0]
    assert comparison.rows[0].metrics.n == sum(image.split == "valid" for image in mura.images)


def test_same_patient_in_both_splits_is_refused(tmp_path: Path) -> None:
    folder = write_mura(tmp_path, train_studies=2, valid_studies=2)
    study = (folder / "valid_labeled_studies.csv").read_text().split(",")[0]
    leaked = study.replace("/valid/", "/train/")
    shutil.copytree(tmp_path / study, tmp_path / leaked)
    with (folder / "train_labeled_studies.csv").open("a") as file:
        file.write(f"{leaked},{int(study.endswith('positive/'))}\n")
    with (folder / "train_image_paths.csv").open("a") as file:
        file.writelines(f"{leaked}{image.name}\n" for image in sorted((tmp_path / leaked).iterdir()))
    with pytest.raises(ConfigError, match=r"1 patient\(s\) in both train and valid") as caught:
        load_dataset(folder)
    assert caught.value.code is ReasonCode.INVALID_DATA


def _csv_data(folder: Path, n: int = 60) -> LabelledDataset:
    """Images of 30 patients without a split or studies."""
    rng = np.random.default_rng(3)
    lines = ["path,label,part,patient"]
    for i in range(n):
        level = np.clip(128 + 30 * (2 * (i % 2) - 1) + 25 * rng.normal(), 20, 235)
        pixels = np.clip(level + 20 * rng.normal(size=(9, 8)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{i % 2},knee,p{i % 30}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return load_dataset(folder / "list.csv")


def test_without_a_split_figures_are_means_over_three_seeds(tmp_path: Path) -> None:
    dataset = _csv_data(tmp_path)
    method, single = Brightness(), Brightness("single", first_seed_only=True)
    comparison = run(dataset, tmp_path / "out", method, single, baseline="single")
    assert method.calls == [0] * 5 + [1] * 5 + [2] * 5
    assert single.calls == [0] * 5
    accuracies, aurocs = [], []
    for seed in range(3):
        paths = (tmp_path / "out" / "predictions" / "brightness").glob(f"seed{seed}-*.csv")
        lines = [line for path in paths for line in _read(path)]
        assert sorted(line["path"] for line in lines) == sorted(image.name for image in dataset.images)
        y = np.array([int(line["label"]) for line in lines])
        p = np.array([float(line["probability"]) for line in lines])
        accuracies.append(np.mean((p >= 0.5) == y))
        aurocs.append(roc_auc_score(y, p))
    row = comparison.row("brightness")
    assert row.metrics.accuracy.value == pytest.approx(np.mean(accuracies))
    assert row.metrics.auroc.value == pytest.approx(np.mean(aurocs))
    assert (row.seeds, comparison.row("single").seeds) == ((0, 1, 2), (0,))
    # The single run is compared with the same seed of the other, and they are the same method.
    pair = row.against_baseline
    assert pair is not None
    assert (pair.n_runs, pair.all.accuracy.value, pair.all.auroc.value) == (1, 0.0, 0.0)
    assert row.metrics.study_level is None


def test_label_efficiency_ends_at_the_table(tmp_path: Path) -> None:
    dataset = _csv_data(tmp_path)
    method = Brightness()
    comparison = run(dataset, tmp_path / "out", method, baseline="brightness", efficiency_of=["brightness"])
    points = comparison.label_efficiency
    assert {(p.share, p.seed, p.fold) for p in points} == {
        (share, seed, fold) for share in (0.01, 0.1, 0.25, 1.0) for seed in range(3) for fold in range(5)
    }
    for fold in make_protocol(dataset).folds_of(0):
        (path,) = (
            path
            for path in (tmp_path / "out" / "predictions" / "brightness").glob(
                f"seed0-fold{fold.number}-*.csv"
            )
            if _grey_curve(dataset, fold.train, fold.test) == [float(r["probability"]) for r in _read(path)]
        )
        y, p = zip(*((int(r["label"]), float(r["probability"])) for r in _read(path)), strict=True)
        whole = [point for point in points if (point.share, point.fold) == (1.0, fold.number)]
        assert len(whole) == 3
        for point in whole:
            assert point.n_images == len(fold.train)
            assert point.accuracy == pytest.approx(np.mean((np.array(p) >= 0.5) == np.array(y)))
            assert point.auroc == pytest.approx(roc_auc_score(y, p))
    # The full share is what the table was made of: only the smaller shares were computed beside it.
    shares = {p.n_images for p in points if p.share < 1}
    assert max(shares) < 48
    assert 15 < len(method.calls) <= 15 + 5 * 9
    again = Brightness()
    run(dataset, tmp_path / "out", again, baseline="brightness", efficiency_of=["brightness"])
    assert again.calls == []


def _grey_curve(dataset: LabelledDataset, train: Ints, test: Ints) -> list[float]:
    return [float(p) for p in Brightness().predict(dataset, train, test, 0)]


def test_a_split_without_training_images_is_refused(tmp_path: Path) -> None:
    _csv_data(tmp_path, 4)
    lines = (tmp_path / "list.csv").read_text().splitlines()
    (tmp_path / "list.csv").write_text(
        "\n".join([f"{lines[0]},split", *(f"{x},valid" for x in lines[1:])]) + "\n"
    )
    with pytest.raises(ConfigError, match="no image of the split train"):
        make_protocol(load_dataset(tmp_path / "list.csv"))


# --- resuming ---


def test_second_run_computes_nothing_and_says_the_same(mura: LabelledDataset, tmp_path: Path) -> None:
    run(mura, tmp_path, Brightness(), baseline="brightness")
    files = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again = Brightness()
    run(mura, tmp_path, again, baseline="brightness")
    assert again.calls == []
    assert {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


def test_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    dataset = _csv_data(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, tmp_path / "out", Interrupted(), baseline="brightness")
    assert not (tmp_path / "out" / "comparison.json").exists()
    method = Brightness()
    resumed = run(dataset, tmp_path / "out", method, baseline="brightness")
    assert len(method.calls) == 14
    whole = run(dataset, tmp_path / "other", Brightness(), baseline="brightness")
    assert resumed == whole


def test_changed_method_or_data_is_computed_again(tmp_path: Path) -> None:
    dataset = _csv_data(tmp_path)
    run(dataset, tmp_path / "out", Brightness(), baseline="brightness")
    other = Brightness(steepness=3.0)
    run(dataset, tmp_path / "out", other, baseline="brightness")
    assert len(other.calls) == 15
    shutil.copy(tmp_path / "0.png", tmp_path / "2.png")  # the same list, another image
    changed = Brightness(steepness=3.0)
    run(load_dataset(tmp_path / "list.csv"), tmp_path / "out", changed, baseline="brightness")
    assert len(changed.calls) == 15


def test_altered_predictions_are_named(tmp_path: Path) -> None:
    dataset = _csv_data(tmp_path)
    run(dataset, tmp_path / "out", Brightness(), baseline="brightness")
    path = next((tmp_path / "out" / "predictions" / "brightness").glob("seed1-fold2-*.csv"))
    path.write_text(path.read_text().replace("probability", "chance"))
    with pytest.raises(ConfigError, match=f"brightness/{path.name}: altered"):
        run(dataset, tmp_path / "out", Brightness(), baseline="brightness")


def test_rows_need_names_of_their_own_and_a_baseline(mura: LabelledDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 rows are called brightness"):
        run(mura, tmp_path, Brightness(), Brightness(), baseline="brightness")
    with pytest.raises(ConfigError, match="baseline resnet50: expected one of the rows, brightness"):
        run(mura, tmp_path, Brightness(), baseline="resnet50")
    assert list(tmp_path.iterdir()) == []


def test_metadata_row_knows_part_and_size_only(tmp_path: Path) -> None:
    """Positives are wide; every pixel is the same."""
    lines = ["path,label,part,patient"]
    for i in range(40):
        wide = i % 2 == 1
        Image.fromarray(np.full((10, 30 if wide else 12), 99, dtype=np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{int(wide)},knee,p{i}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    dataset = load_dataset(tmp_path / "list.csv")
    train, test = np.arange(20), np.arange(20, 40)
    probabilities = MetadataBaseline().predict(dataset, train, test, 0)
    assert roc_auc_score(dataset.labels[test], probabilities) == 1.0
    shown = [image for image in dataset.images if image.label == 0]
    same = np.array([dataset.images.index(image) for image in shown])
    assert np.ptp(MetadataBaseline().predict(dataset, train, same, 0)) < 1e-12


# --- the page ---


class Page(HTMLParser):
    """Text outside the style, cells by table, and what could load something."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.text += data


def test_page_is_whole_and_loads_nothing(compared: tuple[Comparison, Path]) -> None:
    page = Page(compared[1] / "index.html")
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/")
            assert attributes["alt"]
        assert not {name for name in attributes if name.startswith("on")}
    assert "<script>document.title='owned'</script>\N{REPLACEMENT CHARACTER} & co" in page.text
    assert "bone-ssl compare mura -o out" in page.text
    assert "one for all parts" in page.text


def test_page_shows_the_numbers_of_the_table(compared: tuple[Comparison, Path]) -> None:
    comparison, out = compared
    page = Page(out / "index.html")
    for row in comparison.rows:
        assert f"{100 * (row.metrics.accuracy.value or 0):.1f}" in page.text
        assert f"{row.metrics.auroc.value:.3f}" in page.text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.parametrize("width", [1366, 500])
def test_page_opens_in_a_browser(compared: tuple[Comparison, Path], width: int) -> None:
    """No complaint, no request, every picture decoded, and nothing wider than the window."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian package chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    complaints: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url)
        )
        tab.goto((compared[1] / "index.html").as_uri())
        assert tab.title() == "MURA v1.1: comparison"
        for details in tab.query_selector_all("details"):
            details.evaluate("element => { element.open = true }")
        assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate("getComputedStyle(document.querySelector('td.best')).fontWeight") == "700"
        browser.close()
    assert complaints == []


def test_page_without_images_has_none_of_the_data(
    compared: tuple[Comparison, Path], mura: LabelledDataset, tmp_path: Path
) -> None:
    with_images = [a for tag, a in Page(compared[1] / "index.html").tags if tag == "img"]
    assert sum("jpeg" in str(a["src"])[:20] for a in with_images) > 20
    suspects = [SuspectLabel(image.name, image.label, image.part, 0.1) for image in mura.images]
    run(mura, tmp_path, Brightness(), baseline="brightness", suspects=suspects, embed_images=False)
    without = [a for tag, a in Page(tmp_path / "index.html").tags if tag == "img"]
    assert all(str(a["src"]).startswith("data:image/png") for a in without)  # charts
    assert len(without) == 3
