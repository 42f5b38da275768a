"""`rlaws fit`: logs in; import table, forecasts, advice, judged claims and report out, the same bytes every time."""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rlaws.errors import InputError, RlawsError
from rlaws.fits import forecasting, making, shown
from rlaws.fits.asking import Asked, listed, paired
from rlaws.fits.judging import COUNTS, askable, numbered
from rlaws.fits.making import Claims, Silent, make
from rlaws.fits.settings import quoted, typed
from rlaws.jsonable import plain
from rlaws.logs.curves import RecordedCurves
from rlaws.logs.imported import ImportedCurves
from rlaws.logs.imported_counts import ImportedCounts
from rlaws.logs.recipes import Facts, Logs, bounds, direction, expand, grouped, named, responses
from rlaws.probes.base import Budget
from rlaws.probes.recorded_reward_entropy import RecordedRewardEntropy
from rlaws.problems import ProblemSet
from rlaws.report import write
from rlaws.sentences import SENTENCES, joined, said, text_of
from tests import report_fixture as fixture
from tests.cli import rlaws

NO_CLAIMS = Claims((), lambda _: {}, {}, lambda _: None, lambda v: v)
EVAL = "eval[set=math,metric=mean,n=1]"
LINE = ("linear_log",)  # one law, for speed


def log(path, seed, steps=40, top=0.75, tokens=True, entropy=True):
    """A verl file log of a run whose accuracy rises as an exponential while its entropy falls; noise 0.01."""
    rng = np.random.default_rng(seed)
    lines = []
    for s in range(steps + 1):
        p = 0.1 + (top - 0.1) * (1 - np.exp(-s / 12))
        data = {"val-core/math/acc/mean@1": float(np.clip(p + rng.normal(0, 0.01), 0, 1))} if s % 2 == 0 else {}
        if s:
            data |= {"critic/score/mean": p + rng.normal(0, 0.01), "actor/grad_norm": 1.0, "my/strange": 3.5}
            data |= {"actor/entropy": 0.2 + np.exp(-s / 20) + rng.normal(0, 0.005)} if entropy else {}
            data |= {"perf/total_num_tokens": 5e5 + 100.0 * s, "response_length/mean": 300.0 + s} if tokens else {}
        lines.append(json.dumps({"step": s, "data": data}) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path


@functools.cache
def studies_of_logs():
    return askable()


def asked(*paths, **changes):
    facts = changes.pop("facts", Facts())
    quick = {"draws": 200, "scores": (), "claims": ()}
    return Asked(Logs(tuple(map(str, paths))), facts, **{**quick, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three seeds of one recipe, fitted once by the command line with everything on."""
    folder = tmp_path_factory.mktemp("fit")
    for seed in range(3):
        log(folder / f"logs/small-seed{seed}.jsonl", seed, steps=60)
    return folder


WORDS = ["fit", "logs=logs/small-*.jsonl", "sizes={'small*': 0.5}", "batch=64", "groups=8", "draws=200", "scores=[0.5]",
         "target=0.7", "cost=1e-9", "value=1", "links=[absolute,logit]",
         "claims=[training.log_linear,training.reuse,training.converged_size,entropy.reward_exchange]"]  # fmt: skip


@pytest.fixture(scope="module")
def done(home):
    ran = rlaws(*WORDS, "--json", cwd=home)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return json.loads(ran.stdout)


# ------------------------------------------------------------------------------------------------ the whole
def test_three_seeds_are_one_recipe_with_a_forecast(done):
    fit = done["fit"]
    assert fit["responses"]["chosen"] == [EVAL]
    assert "reward_task" in [p["column"] for p in fit["responses"]["possible"]]
    assert fit["axis"]["name"] == "tokens_cum"
    assert fit["axis"]["origin"] == "derived", "tokens of a step are logged, their sum is not"
    assert fit["recipes"] == [{"name": "small", "size": 0.5, "runs": [f"small-seed{i}" for i in range(3)]}]
    (f,) = fit["forecasts"]
    assert len(f["runs"]) == 3
    bands = {k: np.array(v, dtype=float) for k, v in f["bands"].items()}
    ahead = bands["x"] >= f["last_x"]
    assert bands["x"][-1] == pytest.approx(3 * f["last_x"])
    assert np.all(bands["low"] <= bands["y"])
    assert np.all(bands["y"] <= bands["high"])
    assert np.isnan(bands["new_low"][~ahead]).all()
    assert np.isfinite(bands["new_low"][ahead]).all()
    assert bands["low"][ahead][0] < 0.75 < bands["high"][-1], "the truth, 0.75 from there on"
    assert sum(f["weights"].values()) == pytest.approx(1, abs=1e-6)
    assert set(f["naive"]) == {"x", "last_value", "straight_line"}
    assert 0 <= f["target"]["chance"] <= 1
    assert f["advice"]["options"][0]["x"] == pytest.approx(f["last_x"])
    assert {row["link"] for row in f["links"]["ends"]} == {"absolute", "logit"}
    assert {s["method"] for s in f["scoring"]} == {"mixture", "last_value", "straight_line"}


def test_the_import_is_told_key_by_key(done):
    run = done["fit"]["runs"][0]
    assert run["dialect"] == "verl_jsonl"
    assert run["unknown"] == ["my/strange"]
    keys = {k["key"]: k for k in run["keys"]}
    assert keys["actor/entropy"]["column"] == "entropy_token"
    assert keys["actor/entropy"]["meaning"]["zh"]
    origins = {c["name"]: c["origin"] for c in run["columns"]}
    assert origins["entropy_token"] == "logged"
    assert origins["flops_cum"] == "assumed", "answers a step come from the user's batch and groups"


def test_claims_are_judged_with_the_usual_files_and_the_rest_is_listed(done, home):
    fit = done["fit"]
    studies = {v["study"]: v for v in fit["verdicts"]}
    assert {"own/log_linear", "own/log_linear_flops", "own/reward_exchange"} <= set(studies)
    for v in fit["verdicts"]:
        folder = home / done["folder"] / v["folder"]
        assert json.loads((folder / "verdict.json").read_text())["rung"] == "logs"
        assert json.loads((folder / "panels.json").read_text())["panels"]
    reasons = {r["claim"]: r["reason"]["en"] for r in fit["not_judged"]}
    assert "converged=true" in next(r["reason"]["zh"] for r in fit["not_judged"] if "converged" in r["claim"])
    assert "reuse=" in reasons["training.reuse"]
    assert "converged=true" in reasons["training.converged_size"]
    slope = next(r for r in studies["own/log_linear"]["readings"] if r["id"] == "slope")
    assert slope["outcome"] == "supported", "the loss falls in all three seeds (positive control of the cap)"


def test_one_run_never_supports_a_claim(home, tmp_path):
    """The same curve as above from one run: the rule of three runs withholds the verdict."""
    ran = rlaws("fit", f"logs={home}/logs/small-seed0.jsonl", *WORDS[2:6], "scores=[]", "claims=training.log_linear",
                "report=null", "json=true", cwd=tmp_path)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    outcomes = [r["outcome"] for v in found["fit"]["verdicts"] for r in v["readings"]]
    assert "undecided" in outcomes
    assert "supported" not in outcomes
    verdict = tmp_path / found["folder"] / found["fit"]["verdicts"][0]["folder"] / "verdict.json"
    assert "only 1 independent run(s), 3 are needed" in verdict.read_text(encoding="utf-8")


def test_the_report_shows_it_in_both_languages_and_formats(done, home):
    page = (home / done["report"]["html"]).read_text(encoding="utf-8")
    for words in ("Your runs", "你的运行", "small", "my/strange", "Stop or go on", "converged=true", "rlaws fit"):
        assert words in page, words
    body = json.loads((home / done["report"]["json"]).read_text(encoding="utf-8"))
    assert body["fits"][0]["hash"] == done["fit"]["hash"]
    assert {r["study"] for r in body["runs"]} == {v["study"] for v in done["fit"]["verdicts"]}
    for kind in ("latex", "markdown"):
        assert "tokens" in (home / done["report"][kind]).read_text(encoding="utf-8")


def test_the_same_command_computes_nothing_again(done, home):
    folder = home / done["folder"]
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
    again = rlaws(*WORDS, "json=true", cwd=home)
    assert json.loads(again.stdout)["fit"] == done["fit"]
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()} == before
    assert {p.name for p in folder.iterdir()} == {"fit.json", "manifest.json", "verdicts"}


def test_the_command_that_it_names_makes_the_same_fit(done, home):
    import shlex

    command = json.loads((home / done["folder"] / "manifest.json").read_text())["command"]
    words = shlex.split(command)
    assert words[:2] == ["rlaws", "fit"]
    assert set(words[2:]) == set(WORDS[1:])


def test_stored_fits_are_in_the_report_of_the_rest(done, home, tmp_path):
    ran = rlaws("report", "runs=none", f"fits={home}/fits", f"out={tmp_path}/r", "json=true", cwd=home)
    assert ran.returncode == 0, ran.stderr
    assert "Your runs" in Path(json.loads(ran.stdout)["html"]).read_text(encoding="utf-8")
    ran = rlaws("report", "runs=none", "fits=none", cwd=home)
    assert ran.returncode == 2, "negative control: neither runs nor fits"


def test_explain_prints_the_table_and_makes_nothing(home, tmp_path):
    ran = rlaws("fit", f"logs={home}/logs/small-seed0.jsonl", "--explain", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"actor/entropy +entropy_token +nat", ran.stdout)
    assert "Not understood (1): my/strange" in ran.stdout
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ bytes and hashes
def test_same_bytes_in_another_folder_and_another_hash_for_another_question(tmp_path):
    path = log(tmp_path / "a.jsonl", 1)
    outs = (tmp_path / "x", tmp_path / "y")
    found = [make(asked(path, laws=LINE), NO_CLAIMS, out, "rlaws fit", Silent()).folder for out in outs]
    assert found[0].name == found[1].name
    assert (found[0] / "fit.json").read_bytes() == (found[1] / "fit.json").read_bytes()
    other = make(asked(path, laws=LINE, level=0.8), NO_CLAIMS, tmp_path / "x", "rlaws fit", Silent())
    assert other.folder != found[0]
    text = path.read_text()
    path.write_text(text.replace("3.5", "3.6", 1))
    changed = make(asked(path, laws=LINE), NO_CLAIMS, tmp_path / "x", "rlaws fit", Silent())
    assert changed.folder.name not in (found[0].name, other.folder.name)


def test_a_disk_that_refuses_leaves_one_sentence_and_nothing_else(tmp_path):
    path = log(tmp_path / "a.jsonl", 1, steps=12)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RlawsError, match="Cannot write"):
        make(asked(path), NO_CLAIMS, tmp_path / "out", "rlaws fit", Silent())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "out"]


def test_a_failed_study_is_told_and_the_fit_is_not_called_done(tmp_path, monkeypatch):
    from rlaws.runner import Finished

    def broken(study, engine, out, config, command):
        folder = out / study.id / "quick-0"
        (folder / "cells").mkdir(parents=True)
        (folder / "cells/k.error.json").write_text("{}")
        return Finished(folder, None, "1 of 1 cells failed.")

    path = log(tmp_path / "a.jsonl", 1, steps=12)
    monkeypatch.setattr(making, "run_study", broken)
    monkeypatch.setattr(making, "refusal", lambda study, policy: None)
    one = next(a for a in studies_of_logs() if a.study == "training/log_linear_qwen25")
    claims = dataclasses.replace(NO_CLAIMS, asked=(one,), compose=_values, study=_study)
    found = make(asked(path, facts=Facts({"*": 0.5}, batch=8)), claims, tmp_path / "out", "rlaws fit", Silent())
    assert found.failed == ("1 of 1 cells failed.",)
    assert not list((tmp_path / "out").rglob("fit.json"))


def _values(study):
    from tests.golden.test_configs import values

    return values(study)


def _study(values):
    from rlaws.schema import to_study, validate

    return to_study(validate(values))


def test_a_mapping_is_kept_with_the_result(tmp_path):
    table = tmp_path / "mine.csv"
    rows = [f"{s},{0.2 + 0.5 * (1 - np.exp(-s / 9)):.4f}" for s in range(1, 30)]
    table.write_text("iteration,acc\n" + "\n".join(rows) + "\n")
    mapping = tmp_path / "map.yaml"
    mapping.write_text("step: iteration\ncolumns:\n  acc: eval[set=mine,metric=mean]\n")
    found = make(
        dataclasses.replace(asked(table), logs=Logs((str(table),), mapping=str(mapping))), NO_CLAIMS, tmp_path / "fits",
        "rlaws fit", Silent(),
    )  # fmt: skip
    assert (found.folder / "mapping.yaml").read_text() == mapping.read_text()
    assert found.result["mapping"]["mapping"] == mapping.read_text()
    assert found.result["responses"]["chosen"] == ["eval[set=mine,metric=mean]"]


# ------------------------------------------------------------------------------------------------ bad commands
BAD = [
    ([], "No logs are given"),
    (["logs=nothing/*"], "nothing at 'nothing/*'"),
    (["logs=a.jsonl", "targt=1"], "Did you mean 'target'"),
    (["a.jsonl"], "logs=a.jsonl"),
    (["logs=a.jsonl", "response=reward_tsk"], "Did you mean 'reward_task'"),
    (["logs=a.jsonl", "target=3"], "outside the range"),
    (["logs=a.jsonl", "horizon=1"], "horizon = 1 is behind"),
    (["logs=a.jsonl", "sizes={'*7b*': 7}"], "'*7b*' names no run"),
    (["logs=notes.txt"], "no dialect that is known"),
    (["logs=empty"], "No file below"),
    (["logs=counts.csv"], "5 right of 4"),
]
ALL_OF = """
import contextlib, io, json, sys
from rlaws.cli import main
for words in json.load(sys.stdin):
    out, err, sys.argv = io.StringIO(), io.StringIO(), ["rlaws", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main()
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def test_bad_commands_get_one_sentence(tmp_path):
    """All in one process, one after the other: its start is what takes time."""
    log(tmp_path / "a.jsonl", 1, steps=12)
    (tmp_path / "notes.txt").write_text("nothing of the kind\n")
    (tmp_path / "counts.csv").write_text("problem,n,c\np,4,5\n")
    (tmp_path / "empty").mkdir()
    before = sorted(p.name for p in tmp_path.iterdir())
    commands = json.dumps([["fit", *words, "--json", "report=null"] for words, _ in BAD])
    ran = subprocess.run(
        [sys.executable, "-c", ALL_OF], input=commands, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    for (words, says), (code, out, err) in zip(BAD, found, strict=True):
        assert code == 2, words
        assert says in err, words
        assert says in json.loads(out)["error"], words
        assert "Traceback" not in err, words
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"level": 2}, "level"),
        ({"links": ["logt"]}, "Did you mean 'logit'"),
        ({"laws": ["powr"]}, "Did you mean 'power'"),
        ({"sizes": "{*a: 1}"}, "quotes around patterns"),
        ({"sizes": {"*": -1}}, "sizes"),
        ({"cost": 1.0}, "cost and value go together"),
        ({"range": [1.0, 0.0]}, "range"),
        ({"colour": "red"}, "there is no such key"),
        ({"seed": -1}, "seed"),
    ],
    ids=str,
)
def test_bad_settings_name_the_key(changes, says):
    import yaml

    from rlaws.catalogue import conf_dir
    from rlaws.fits.settings import to_asked, validate

    shipped = yaml.safe_load((conf_dir() / "fit.yaml").read_text(encoding="utf-8"))
    values = {k: v for k, v in shipped.items() if k not in ("defaults", "hydra")}
    assert to_asked(validate({**values, "logs": "a"})).logs.paths == ("a",)
    with pytest.raises(InputError, match=re.escape(says)):
        to_asked(validate({**values, "logs": "a", **changes}))


# ------------------------------------------------------------------------------------------------ words
@pytest.mark.parametrize(
    "value",
    ["runs/*", "[a.log, b c.log]", "it's.log", "a\\", "a\\'b", "{'*0.5b*': 0.5}", "eval[set=a,k=1]", "${x}/a", "a=b"],
)
def test_texts_survive_the_grammar_of_overrides(value):
    (word,) = quoted([f"logs={value}"])
    found = OverridesParser.create().parse_override(word).value()
    assert str(found).replace(r"\${", "${") == value
    assert typed(word) == f"logs={value}"


def test_lists_and_pairs_are_read_as_meant():
    assert listed("[eval[set=a,metric=b], reward_task]") == ["eval[set=a,metric=b]", "reward_task"]
    assert listed("eval[set=a,metric=b]") == ["eval[set=a,metric=b]"]
    assert listed("['a, b', c]") == ["a, b", "c"]
    assert listed("run[1].log") == ["run[1].log"]
    assert listed(None) == []
    assert paired("sizes", "{'*a*': 1, '*b*': 2}") == {"*a*": 1, "*b*": 2}
    assert paired("sizes", 0.5) == {"*": 0.5}
    with pytest.raises(InputError, match="sizes"):
        paired("sizes", [1])


def test_names_are_expanded_sorted_and_once(tmp_path):
    for name in ("b.log", "a.log", "run[1].log"):
        (tmp_path / name).write_text("x")
    found = expand([f"{tmp_path}/*.log", f"{tmp_path}/a.log"])
    assert [p.name for p in found] == ["a.log", "b.log", "run[1].log"]
    assert [p.name for p in expand([f"{tmp_path}/run[1].log"])] == ["run[1].log"]
    with pytest.raises(InputError, match=r"Did you mean 'a\.log'"):
        expand([f"{tmp_path}/a.lg"])


# ------------------------------------------------------------------------------------------------ recipes and facts
def runs_of(tmp_path, *names, **options):
    paths = [str(log(tmp_path / f"{n}.jsonl", i, steps=12, **options)) for i, n in enumerate(names)]
    return Logs(tuple(paths)).runs()


def test_seeds_make_a_recipe_and_nothing_else_does(tmp_path):
    runs = runs_of(tmp_path, "lr1-seed1", "lr1-seed2", "lr2_seed=1", "seedling", "qwen-0.5b")
    assert [(r.name, len(r.runs)) for r in grouped(runs, Facts())] == [
        ("lr1", 2), ("lr2", 1), ("seedling", 1), ("qwen-0.5b", 1),
    ]  # fmt: skip
    by_hand = grouped(runs, Facts(recipes={"lr*": "all"}))
    assert [(r.name, len(r.runs)) for r in by_hand] == [("all", 3), ("seedling", 1), ("qwen-0.5b", 1)]
    with pytest.raises(InputError, match="2 values of sizes"):
        grouped(runs, Facts(recipes={"lr*": "all"}, sizes={"lr1*": 1, "lr2*": 2}))


def test_the_longest_pattern_counts_and_a_tie_is_refused(tmp_path):
    runs = runs_of(tmp_path, "a-4b", "a-14b")
    sizes = {r.name: r.size for r in grouped(runs, Facts(sizes={"*4b": 4, "*14b": 14, "*": 1}))}
    assert sizes == {"a-4b": 4.0, "a-14b": 14.0}, "'*4b' names 14b too"
    with pytest.raises(InputError, match="both name the run"):
        grouped(runs, Facts(sizes={"*4b": 4, "a-*": 14}))


def test_two_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [str(log(tmp_path / f"{n}/log.jsonl", i, steps=12)) for i, n in enumerate(("one", "two"))]
    assert [r.name for r in Logs(tuple(paths)).runs()] == ["one/log", "two/log"]
    run = Logs((paths[0],)).runs()[0]
    assert [r.name for r in named([run, run])] == ["log", "log (2)"] or len({r.name for r in named([run, run])}) == 2


def test_the_response_follows_its_rule(tmp_path):
    runs = runs_of(tmp_path, "a", "b")
    assert [name for name, _ in responses(runs)] == [EVAL, "reward_task"]
    assert bounds(EVAL, runs) == (0.0, 1.0)
    assert bounds("reward_task", runs) == (None, None)
    assert [direction(n) for n in (EVAL, "eval[metric=error]", "loss", "loss_policy", "eval[metric=best]")] == [
        "higher", "lower", "lower", "lower", "higher",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ the policy
def planted(tmp_path):
    """A recorded table of two sizes, and the mapping under which it is a log."""
    rows = ["family,model_B,step,samples,cum_flops,test_loss"]
    for size in (0.5, 3.0):
        rows += [f"base,{size},{s},{512 * s},{1e15 * size * s},{0.9 * s ** (-0.05 * size):.6f}" for s in range(1, 40)]
    table = tmp_path / "curves.csv"
    table.write_text("\n".join(rows) + "\n")
    return table, table_mapping(tmp_path)


def table_mapping(tmp_path):
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "step: step\nrun: model_B\ncolumns:\n  test_loss: {field: eval, set: math, metric: error}\n"
        "  cum_flops: flops_cum\n  samples: samples_cum\n  family: {what: model family}\n"
    )
    return mapping


def same_table(table, mapping, sizes):
    recorded = RecordedCurves("", "loss_curves", str(table)).table()
    imported = ImportedCurves(
        (str(table),), mapping=str(mapping), sizes={f"*: {n}": float(n) for n in sizes}, families={"*": "base"}
    )
    found = imported.table()
    assert set(found) == set(recorded)
    order = np.lexsort((recorded["step"], recorded["model_B"]))
    mine = np.lexsort((found["step"], found["model_B"]))
    for name in recorded:
        if recorded[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name][mine], recorded[name][order], rtol=1e-12)
        else:
            assert np.array_equal(found[name][mine], recorded[name][order]), name
    return imported


def test_an_imported_table_is_the_recorded_one(tmp_path):
    imported = same_table(*planted(tmp_path), sizes=("0.5", "3.0"))
    assert imported.runs_behind() == 1
    assert dataclasses.replace(imported, averaged=3).runs_behind() == 3
    assert "reuse=" in imported.lacking()["reuse_tau"]


def test_what_is_missing_is_said_with_what_to_give(tmp_path):
    path = log(tmp_path / "qwen-0.5b.jsonl", 0, steps=12, tokens=False, entropy=False)
    lacking = ImportedCurves((str(path),)).lacking()
    assert "sizes={'*0.5b*': 0.5}" in lacking["model_B"]
    assert "batch=" in lacking["samples"]
    assert "sizes=" in lacking["cum_flops"]
    assert "len_total" in ImportedCurves((str(path),), sizes={"*": 0.5}).lacking()["cum_flops"]
    assert "entropy_token" in ImportedCurves((str(path),), layout="reward_entropy").lacking()["entropy"]
    with pytest.raises(InputError, match="Did you mean 'loss_curves'"):
        ImportedCurves((str(path),), layout="loss_curve")


def test_gains_need_a_value_before_training(tmp_path):
    path = log(tmp_path / "a.jsonl", 0, steps=12)
    table = ImportedCurves((str(path),), layout="policy_gain", sizes={"*": 1}, questions=500).table()
    assert table["before"][0] == pytest.approx(0.1, abs=0.05)
    assert table["gain"][0] == pytest.approx(table["after"][0] - table["before"][0])
    late = tmp_path / "late.jsonl"
    late.write_text("".join(path.read_text().splitlines(keepends=True)[2:]))
    assert "step 0" in ImportedCurves((str(late),), layout="policy_gain", questions=500).lacking()["before"]


def test_studies_are_found_by_looking_and_numbered_once():
    found = {a.study: a for a in studies_of_logs()}
    assert found["entropy/reward_exchange"].probe == "recorded_reward_entropy"
    assert found["training/log_linear_qwen25"].layout == "loss_curves"
    one = {"claim": {"id": "a.b"}, "probe": {"axis": "samples"}, "grid": {}, "study": {"id": "own/b"}}
    other = {**one, "probe": {"axis": "flops"}}
    assert numbered([one, other, one]) == [(0, "own/b"), (1, "own/b_flops")]


@dataclasses.dataclass(frozen=True)
class Exchange:
    """R = -0.4 e^H + 1.2 along a falling entropy, without noise."""

    flat: bool = False

    def table(self):
        entropy = np.full(96, 0.5) if self.flat else np.linspace(1.0, 0.2, 96)
        reward = 1.2 - 0.4 * np.exp(entropy)
        return {"family": np.full(96, "a"), "step": np.arange(96), "entropy": entropy, "reward": reward}


def test_reward_against_entropy_of_a_log_is_the_law_that_was_planted():
    measured = RecordedRewardEntropy().measure(Exchange(), None, Budget("quick", 1.0, 100), np.random.SeedSequence(0))
    entropy, total = measured.columns["entropy"], measured.columns["total"]
    basis = np.column_stack([np.exp(entropy), np.ones(entropy.size)])
    slope, _ = np.linalg.lstsq(basis, total, rcond=None)[0]
    assert slope == pytest.approx(-0.4, abs=2e-4), "block means of a curved law differ from it in second order"
    assert np.all(np.diff(measured.columns["fall"]) > 0)
    with pytest.raises(InputError, match="does not fall"):
        RecordedRewardEntropy().measure(Exchange(flat=True), None, Budget("quick", 1.0, 100), np.random.SeedSequence(0))


# ------------------------------------------------------------------------------------------------ the report
def hostile(tmp_path):
    """A fit of a table whose runs, keys and metric hold markup."""
    table = tmp_path / "<b>&.csv"
    name = "<script>alert(1)</script>"
    rows = [f"{s},{name},{0.2 + 0.01 * s},1" for s in range(1, 25)]
    table.write_text("step,who,reward,<img src=x>\n" + "\n".join(rows) + "\n")
    mapping = tmp_path / "map.yaml"
    mapping.write_text("step: step\nrun: who\ncolumns:\n  reward: reward_task\n  <img src=x>: {what: '<i>odd</i>'}\n")
    made = dataclasses.replace(asked(table), logs=Logs((str(table),), mapping=str(mapping)))
    return make(made, NO_CLAIMS, tmp_path / "fits", "rlaws fit 'logs=<x>'", Silent()).folder


def test_what_comes_from_logs_is_shown_as_text(tmp_path):
    page = write([], tmp_path / "report", fits=[hostile(tmp_path)])["html"].read_text(encoding="utf-8")
    assert page.count("<script") == 2, "the data and the page's own"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<img" not in page
    assert "<i>odd" not in page


def test_reports_without_fits_are_as_before(tmp_path):
    folders = [fixture.write_run(tmp_path / "runs", *fixture.verdict("a.b", {}, np.array([1.0])))]
    found = [write(folders, tmp_path / out, **more) for out, more in (("a", {}), ("b", {"fits": []}))]
    pages = [f["html"].read_text(encoding="utf-8") for f in found]
    assert pages[0] == pages[1]
    assert "Your runs" not in pages[0]
    assert ".forecasts" not in pages[0]
    assert "fits" not in json.loads(found[0]["json"].read_text(encoding="utf-8"))
    with pytest.raises(InputError, match="is not the folder of a fit"):
        write(folders, tmp_path / "c", fits=[tmp_path])


# ------------------------------------------------------------------------------------------------ both languages
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def numbers_in(text):
    return sorted(re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", text))


def bent(tmp_path):
    """A log whose evaluation gives back most of its gain while the training reward rises on; noise 0.01."""
    rng = np.random.default_rng(3)
    lines = []
    for s in range(1, 61):
        reward, up = 0.2 + 0.008 * s, 0.3 + 0.02 * min(s, 25) - 0.012 * max(s - 25, 0)
        data = {"val-core/math/acc/mean@1": up + rng.normal(0, 0.01), "critic/score/mean": reward + rng.normal(0, 0.01)}
        lines.append(json.dumps({"step": s, "data": data}) + "\n")
    path = tmp_path / "bent.jsonl"
    path.write_text("".join(lines))
    return path


def test_findings_are_stored_in_both_languages_with_the_same_numbers(tmp_path):
    path = bent(tmp_path)
    found = make(asked(path, laws=LINE), NO_CLAIMS, tmp_path / "fits", "rlaws fit", Silent())
    (f,) = found.result["forecasts"]
    (bend,) = f["bends"]
    (diagnosis,) = f["diagnoses"]
    texts = [f["refusal"], bend["sentence"], diagnosis["evidence"]]
    for text in texts:
        assert CHINESE.search(text["zh"])
        assert not CHINESE.search(text["en"])
        assert numbers_in(text["zh"]) == numbers_in(text["en"])
    assert f["refusal"]["en"].startswith(bend["sentence"]["en"] + " No law of the list can turn back")
    assert f["refusal"]["en"].endswith("; laws=[…] names them.")
    assert "laws=[…]" in f["refusal"]["zh"]
    assert diagnosis["title"] == {"en": "overfitting", "zh": "过拟合"}
    assert bend["sentence"]["en"] in shown.sentences(f)[0], "the terminal stays English"
    page = write([], tmp_path / "report", fits=[found.folder])["html"].read_text(encoding="utf-8")
    assert f"过拟合：{diagnosis['evidence']['zh']}" in page
    straight = log(tmp_path / "straight.jsonl", 1, steps=12)
    made = make(asked(straight, laws=LINE), NO_CLAIMS, tmp_path / "fits", "rlaws fit", Silent())
    (f,) = made.result["forecasts"]
    assert not f["bends"], "negative control: a curve that rises"
    assert any("只有一次运行" in note["zh"] for note in f["forecast_notes"])


def test_every_sentence_has_the_same_numbers_in_both_languages():
    from string import Formatter

    for key, (en, zh) in SENTENCES.items():
        names = [sorted({n for _, n, _, _ in Formatter().parse(row) if n}) for row in (en, zh)]
        assert names[0] == names[1], key
        assert CHINESE.search(zh) or not re.search("[a-z]", re.sub(r"\{.*?\}", "", en)), key


def test_a_sentence_stands_wherever_a_text_may():
    import copy
    import pickle

    one = said("behind", end=1.0, axis="step", recipe="a", last=2.0)
    assert one == "horizon = 1 is behind the last step of 'a', 2; nothing is left to forecast."
    for again in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert text_of(again) == text_of(InputError(one)) == {"en": str(one), "zh": one.zh}
    assert text_of("plain") == {"en": "plain"}
    assert joined([one, "b"], said("then")).zh == f"{one.zh}；b"


# ------------------------------------------------------------------------------------------------ answers per problem
def counts_csv(path, models, step=""):
    """A table of counts: model -> [(answers, right ones), ...] of problems p0, p1, ..."""
    rows = [f"{m},p{i},{n},{c}" for m, pairs in models.items() for i, (n, c) in enumerate(pairs)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("model,problem,n,c\n" + "\n".join(rows) + "\n")
    return path


def rollouts(folder, right, answers=4):
    """verl's dumps of two problems: step -> how many answers to each are right."""
    folder.mkdir(parents=True, exist_ok=True)
    for step, each in right.items():
        rows = [{"input": f"q{i}", "output": "x", "score": float(j < c), "step": step}
                for i, c in enumerate(each) for j in range(answers)]  # fmt: skip
        (folder / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def counts_of(path, tmp_path, **changes):
    return make(asked(path, **changes), NO_CLAIMS, tmp_path / "fits", "rlaws fit", Silent()).result


def test_counts_give_pass_at_k_for_each_model_apart(tmp_path):
    path = counts_csv(tmp_path / "c.csv", {"a": [(4, 1), (4, 3)], "b": [(4, 0), (4, 4)], "one": [(4, 2)]})
    found = counts_of(path, tmp_path)
    assert found["forecasts"] == []
    a, b, one = found["counts"]
    assert [t["name"] for t in found["counts"]] == ["a", "b", "one"], "models with one problem name are not added up"
    assert a["k"] == [1, 2, 4]
    assert a["pass"] == pytest.approx([0.5, (0.5 + 1.0) / 2, 1.0]), "1 - C(3,2)/C(4,2) = 1/2 and 1 - 0 = 1"
    assert b["pass"] == pytest.approx([0.5, 0.5, 0.5])
    assert (a["low"][0], a["high"][0]) == (0.25, 0.75), "both draws are one problem in a quarter of the replicas"
    assert one["low"] == [None] * 3
    assert "no interval" in one["notes"][0]["en"]


def test_the_interval_of_pass_at_1_is_that_of_resampled_problems(tmp_path):
    """100 problems, rates from Beta(2, 2): the 90 % interval's half-width is 1.645 standard errors, within 10 %."""
    rng = np.random.default_rng(0)
    right = rng.binomial(16, rng.beta(2, 2, 100))
    (t,) = counts_of(counts_csv(tmp_path / "c.csv", {"m": [(16, c) for c in right]}), tmp_path, draws=4000)["counts"]
    error = (right / 16).std(ddof=1) / 10
    assert (t["high"][0] - t["low"][0]) / 2 == pytest.approx(1.645 * error, rel=0.1)
    assert t["low"][0] < (right / 16).mean() < t["high"][0]


def test_of_several_steps_the_last_counts_unless_one_is_asked_for(tmp_path):
    folder = rollouts(tmp_path / "dumps", {10: (1, 2), 20: (2, 4)})
    (last,) = counts_of(folder, tmp_path)["counts"]
    assert (last["step"], last["pass"][0]) == (20, 0.75)
    assert "those of the last one are used" in last["notes"][0]["en"]
    assert "最后一步" in last["notes"][0]["zh"]
    (first,) = counts_of(folder, tmp_path, step=10.0)["counts"]
    assert (first["step"], first["pass"][0]) == (10, 0.375)
    with pytest.raises(InputError, match=r"step = 15: 'dumps' has no answers there; they are at 10, 20"):
        counts_of(folder, tmp_path, step=15.0)
    with pytest.raises(InputError, match="these answers name no step"):
        counts_of(counts_csv(tmp_path / "c.csv", {"a": [(4, 1)]}), tmp_path, step=10.0)


def test_scores_that_are_no_grades_need_a_threshold(tmp_path):
    folder = rollouts(tmp_path / "dumps", {10: (1, 2)})
    file = folder / "10.jsonl"
    file.write_text(file.read_text().replace('"score": 1.0', '"score": 0.7'))
    with pytest.raises(InputError, match="threshold="):
        counts_of(folder, tmp_path)
    assert counts_of(folder, tmp_path, threshold=0.5)["counts"][0]["pass"][0] == 0.375


@pytest.mark.parametrize("together", [True, False], ids=["one folder", "two paths"])
def test_logs_and_answers_together_get_a_section_each(tmp_path, together):
    run = log(tmp_path / "all/run.jsonl", 1, steps=12)
    table = counts_csv(tmp_path / ("all/c.csv" if together else "c.csv"), {"m<b>": [(8, 1), (8, 5)]})
    dumps = rollouts(tmp_path / ("all/dumps" if together else "dumps"), {3: (1, 1)})
    paths = [tmp_path / "all"] if together else [run, table, dumps]
    found = make(asked(*paths, laws=LINE), NO_CLAIMS, tmp_path / "fits", "rlaws fit", Silent())
    assert [r["name"] for r in found.result["runs"]] == ["run"]
    assert len(found.result["forecasts"]) == 1
    assert sorted(t["name"] for t in found.result["counts"]) == ["dumps", "m<b>"]
    assert len(found.result["sources"]) == 3
    page = write([], tmp_path / "report", fits=[found.folder])["html"].read_text(encoding="utf-8")
    for words in ("Answers per problem", "逐题作答", "pass@8", "Forecasts", "m&lt;b&gt;"):
        assert words in page, words
    assert "m<b>" not in page.split("<script")[0]


def test_answers_in_the_folder_of_a_run_that_cannot_be_read_do_not_stop_it(tmp_path):
    log(tmp_path / "all/run.jsonl", 1, steps=12)
    bad = counts_csv(tmp_path / "all/c.csv", {"m": [(4, 5)]})
    found = counts_of(tmp_path / "all", tmp_path, laws=LINE)
    assert len(found["forecasts"]) == 1
    assert "5 right of 4" in found["counts_left_out"][0]
    with pytest.raises(InputError, match="5 right of 4"):
        counts_of(bad, tmp_path)


@pytest.mark.parametrize(
    ("files", "changes", "says"),
    [
        ({"c.csv": "problem,n,c\na,4,5\n"}, {}, "5 right of 4"),
        ({"c.csv": "problem,n,c\na,4,1\na,4,2\n"}, {}, "name model or step in a column"),
        ({}, {}, "no dialect|No file below"),
        ({"c.csv": ""}, {}, "No file below"),
        ({"c.csv": "problem,n,c\na,4,1\n"}, {"responses": ("reward_task",)}, "response: it is about training logs"),
        ({"c.csv": "problem,n,c\na,4,1\n"}, {"facts": Facts({"*": 1.0})}, "sizes: it is about training logs"),
    ],
    ids=["c > n", "twice", "empty folder", "empty file", "response", "sizes"],
)
def test_unusable_answers_get_a_sentence(tmp_path, files, changes, says):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=says):
        counts_of(folder, tmp_path, **changes)


def test_settings_of_answers_need_answers(tmp_path):
    with pytest.raises(InputError, match="step: it is about answers per problem"):
        counts_of(log(tmp_path / "a.jsonl", 1, steps=12), tmp_path, step=3.0)


def test_explain_tells_models_problems_answers_and_steps(tmp_path, capsys):
    folder = rollouts(tmp_path / "dumps", {10: (1, 2), 20: (2, 4)})
    shown.print_explained(*making.imported(asked(folder), lambda _: None), as_json=False)
    said_ = capsys.readouterr().out
    assert "dumps: verl_rollouts" in said_
    assert "problems 2  answers 4  right 6  steps 2 (10 to 20)" in said_
    shown.print_explained(*making.imported(asked(folder), lambda _: None), as_json=True)
    assert json.loads(capsys.readouterr().out)["counts"][0]["problems"] == 2


def judged_counts(tmp_path, models):
    """Judge search.fail_1_over_n on models given by the Beta distribution of their rates; 512 answers a problem."""
    rng = np.random.default_rng(5)
    tables = {m: [(512, c) for c in rng.binomial(512, rng.beta(a, b, p))] for m, (a, b, p) in models.items()}
    path = counts_csv(tmp_path / "c.csv", tables)
    one = next(a for a in studies_of_logs() if a.layout == COUNTS)
    claims = dataclasses.replace(NO_CLAIMS, asked=(one,), compose=_values, study=_study, stored=plain)
    return make(asked(path), claims, tmp_path / "fits", "rlaws fit", Silent())


def test_claims_of_counts_are_judged_on_answers(tmp_path):
    """Rates from Beta(a, .) make a failure that falls as k^-a: 0.5 refutes the claim, 1 (false alarm 5 %) does not."""
    found = judged_counts(tmp_path, {"half": (0.5, 4.0, 500), "few": (1.0, 8.0, 12)})
    (verdict,) = found.result["verdicts"]
    assert verdict["study"] == "own/fail_1_over_n"
    stored = json.loads((found.folder / verdict["folder"] / "verdict.json").read_text())
    assert stored["rung"] == "logs"
    (reading,) = [r for r in stored["readings"] if r["id"] == "exponent"]
    assert reading["outcome"] == "refuted"
    (left,) = found.result["not_judged"]
    assert left["reason"]["en"].startswith("'few' was left out: pass_at_k: at no k do 20 problems carry")
    assert "“few”未参与" in left["reason"]["zh"]
    (verdict,) = judged_counts(tmp_path / "one", {"one": (1.0, 8.0, 1500)}).result["verdicts"]
    assert next(r["outcome"] for r in verdict["readings"] if r["id"] == "exponent") != "refuted", "negative control"


def test_a_claim_that_is_asked_for_says_what_it_needs(tmp_path):
    one = next(a for a in studies_of_logs() if a.layout == COUNTS)
    claims = dataclasses.replace(NO_CLAIMS, asked=(one,), compose=_values, study=_study)
    path = log(tmp_path / "a.jsonl", 1, steps=12)
    for wanted, reasons in ((("search.fail_1_over_n",), ["it needs answers per problem"]), (None, [])):
        found = make(asked(path, claims=wanted, laws=LINE), claims, tmp_path / "fits", "", Silent()).result
        assert [r["reason"]["en"][:28] for r in found["not_judged"]] == reasons


def test_the_policy_of_answers_counts_and_refuses(tmp_path):
    path = counts_csv(tmp_path / "c.csv", {"a": [(4, 1), (4, 3)], "b": [(4, 0), (4, 4)]})
    policy = ImportedCounts((str(path),), "b")
    assert [v.tolist() for v in policy.count(policy.problem_set(), 1, np.random.SeedSequence(0))] == [[4, 4], [0, 4]]
    with pytest.raises(InputError, match="Problem 'p9' is not among the answers of 'b'"):
        policy.count(ProblemSet(np.array(["p9"]), {}), 1, np.random.SeedSequence(0))
    with pytest.raises(InputError, match="There are no answers of 'c'"):
        ImportedCounts((str(path),), "c").problem_set()
    with pytest.raises(InputError, match="No logs are given"):
        ImportedCounts(())


# ------------------------------------------------------------------------------------------------ public data
@pytest.fixture
def data():
    folder = os.environ.get("RLAWS_DATA")
    if not folder:
        pytest.skip("RLAWS_DATA does not name the folder of public data (docs/data.md)")
    return Path(folder)


def test_the_published_curves_as_logs(data, tmp_path):
    """arXiv 2509.25300: L(N, D) with K_max 0.163 and N0 17.0 from the very table that `rlaws fit` imports."""
    from tests.exact.test_recorded import saturating_fit

    path = data / "qwen25-grpo/loss_curves.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here (docs/data.md)")
    sizes = ("0.5", "1.5", "3.0", "7.0", "14.0", "32.0")
    table = same_table(path, table_mapping(tmp_path), sizes).table()
    k_max, n0 = saturating_fit(table["model_B"], table["samples"], table["test_loss"])
    assert k_max == pytest.approx(0.163, abs=0.003)
    assert n0 == pytest.approx(17.0, abs=0.5)


def test_the_public_counts_as_logs_are_judged_as_the_recorded_ones(data, tmp_path):
    """arXiv 2502.17578: the same verdict numbers from `rlaws fit` as from the study of the recorded table."""
    path = data / "pythia-math-counts/counts.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here (docs/data.md)")
    words = ("study=search/fail_1_over_n_pythia", "engine.workers=1", "report=null", "json=true")
    ran = rlaws("run", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    recorded = json.loads(ran.stdout)["runs"][0]["verdict"]
    fitted = rlaws("fit", f"logs={path}", "report=null", "--json", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    found = json.loads(fitted.stdout)
    (entry,) = found["fit"]["verdicts"]
    mine = json.loads((tmp_path / found["folder"] / entry["folder"] / "verdict.json").read_text(encoding="utf-8"))
    points = {r["id"]: sorted(r["points"], key=lambda p: p["regime"]["model"]) for r in recorded["readings"]}
    assert len(points["exponent"]) == 6
    for reading in mine["readings"]:
        assert sorted(reading["points"], key=lambda p: p["regime"]["model"]) == points[reading["id"]]
    assert mine["outcome"] == recorded["outcome"]


def test_a_real_console_log(data, tmp_path):
    path = data / "verl-ppo-log/console.log"
    if not path.exists():
        pytest.skip(f"{path} is not here (docs/data.md)")
    found = make(asked(path), NO_CLAIMS, tmp_path, "rlaws fit", Silent()).result
    (f,) = found["forecasts"]
    assert found["responses"]["chosen"] == ["eval[set=openai/gsm8k,metric=score]"]
    assert f["runs"][0]["points"] == 43
    assert f["runs"][0]["y"][0] < 0.02
    assert f["bands"]["low"][-1] < 0.55 < f["bands"]["high"][-1]
    assert any("three decimals" in w for w in found["runs"][0]["warnings"])


def test_a_real_export_of_a_chart(data, tmp_path):
    path = data / "qwen3-gsm8k-grpo/wandb_export.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here (docs/data.md)")
    logs = Logs((str(path),), metric="eval[set=gsm8k,metric=mean]")
    sizes = {f"*{n}b": float(n) for n in ("0.6", "1.7", "4", "8", "14")}
    question = dataclasses.replace(asked(path, facts=Facts(sizes), size=32.0), logs=logs)
    found = make(question, NO_CLAIMS, tmp_path, "rlaws fit", Silent()).result
    assert [f["size"] for f in found["forecasts"]] == [0.6, 14.0, 8.0, 4.0, 1.7]
    (family,) = found["families"]
    assert family["held"]["label"] == "predicted"
    assert family["predicted"]["label"] == "predicted"
    assert family["predicted"]["y"][-1] < 0.1, "the error of 32B, below that of 14B"


# ------------------------------------------------------------------------------------------------ the page of docs
def test_the_page_names_every_dialect_column_and_setting_that_there_is():
    import yaml

    from rlaws.catalogue import conf_dir
    from rlaws.logs.canonical import FIELDS
    from rlaws.logs.dialects import dialects

    page = (conf_dir().parent / "docs/fit.md").read_text(encoding="utf-8")
    for name, one in dialects().items():
        if hasattr(one, "records"):
            assert f"| `{name}` | {one.TITLE} |" in page, name
    for name in FIELDS:
        assert f"| `{name}` |" in page, name
    shipped = yaml.safe_load((conf_dir() / "fit.yaml").read_text(encoding="utf-8"))
    for line in page.splitlines():
        if line.startswith("rlaws fit ") or line.startswith("    "):
            for word in re.findall(r"(?:^|\s)'?([a-z_]+)=", line):
                assert word in shipped, word


def test_every_setting_is_explained():
    from rlaws.catalogue import conf_dir

    lines = (conf_dir() / "fit.yaml").read_text(encoding="utf-8").split("hydra:\n")[0].splitlines()
    for line in lines:
        if re.match(r"[a-z_]+:", line) and not line.startswith("defaults"):
            assert "#" in line, line


def test_three_runs_of_a_recipe_are_clusters_and_two_are_a_mean(tmp_path):
    paths = [str(log(tmp_path / f"a-seed{i}.jsonl", i, steps=12)) for i in range(3)]
    three = ImportedCurves(tuple(paths), sizes={"*": 1}, batch=8).table()
    assert sorted(set(three["seed"].tolist())) == [0, 1, 2]
    two = ImportedCurves(tuple(paths[:2]), sizes={"*": 1}, batch=8).table()
    assert "seed" not in two
    by_seed = [three["test_loss"][three["seed"] == i] for i in range(2)]
    np.testing.assert_allclose(two["test_loss"], np.mean(by_seed, axis=0))


def test_every_dialect_ends_in_a_fit_or_in_a_sentence(tmp_path, monkeypatch):
    """All samples of the importer's own tests; a single law and a forecast of few points, for speed."""
    import pkgutil
    from importlib import import_module

    from tests.logs import samples
    from tests.logs.conftest import spread

    modules = [import_module(f"{samples.__name__}.{m.name}") for m in pkgutil.iter_modules(samples.__path__)]
    every = {name: files for m in modules if hasattr(m, "samples") for name, files in m.samples().items()}
    facts = Facts({"*": 1.0}, groups={"*": 2}, batch=4)
    monkeypatch.setattr(forecasting, "AHEAD", 4)
    done, refused = 0, {}
    for i, (name, files) in enumerate(every.items()):
        path = spread(tmp_path / f"{i}/in", files)
        try:
            found = make(asked(path, laws=LINE, facts=facts), NO_CLAIMS, tmp_path / f"{i}", "", Silent())
        except RlawsError as error:
            refused[name] = str(error)
            continue
        done += all(f.get("refusal") or f["bands"]["y"] for f in found.result["forecasts"])
    assert done == len(every) - len(refused) > 0.6 * len(every)
    assert all(len(sentence) > 40 for sentence in refused.values())
