"""`rlaws fit`: logs in; import table, forecasts, advice, judged claims and report out, the same bytes every time."""

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rlaws.errors import InputError, RlawsError
from rlaws.fits import making
from rlaws.fits.asking import Asked, listed, paired
from rlaws.fits.judging import askable, numbered
from rlaws.fits.making import Claims, Silent, make
from rlaws.fits.settings import quoted, typed
from rlaws.logs.curves import RecordedCurves
from rlaws.logs.imported import ImportedCurves
from rlaws.logs.recipes import Facts, Logs, bounds, direction, expand, grouped, named, responses
from rlaws.probes.base import Budget
from rlaws.probes.recorded_reward_entropy import RecordedRewardEntropy
from rlaws.report import write
from tests import report_fixture as fixture
from tests.cli import rlaws

NO_CLAIMS = Claims((), lambda _: {}, {}, lambda _: None, lambda v: v)
EVAL = "eval[set=math,metric=mean,n=1]"


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
    reasons = {r["claim"]: r["reason"] for r in fit["not_judged"]}
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
    found = [make(asked(path), NO_CLAIMS, tmp_path / out, "rlaws fit", Silent()).folder for out in ("x", "y")]
    assert found[0].name == found[1].name
    assert (found[0] / "fit.json").read_bytes() == (found[1] / "fit.json").read_bytes()
    other = make(asked(path, level=0.8), NO_CLAIMS, tmp_path / "x", "rlaws fit", Silent())
    assert other.folder != found[0]
    text = path.read_text()
    path.write_text(text.replace("3.5", "3.6", 1))
    changed = make(asked(path), NO_CLAIMS, tmp_path / "x", "rlaws fit", Silent())
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
    one = next(a for a in askable() if a.study == "training/log_linear_qwen25")
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
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "No logs are given"),
        (["logs=nothing/*"], "nothing at 'nothing/*'"),
        (["logs=a.jsonl", "targt=1"], "Did you mean 'target'"),
        (["a.jsonl"], "logs=a.jsonl"),
        (["logs=a.jsonl", "response=reward_tsk"], "Did you mean 'reward_task'"),
        (["logs=a.jsonl", "target=3"], "outside the range"),
        (["logs=a.jsonl", "horizon=1"], "horizon = 1 is behind"),
        (["logs=a.jsonl", "sizes={'*7b*': 7}"], "'*7b*' names no run"),
        (["logs=notes.txt"], "no dialect that is known"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_commands_get_one_sentence(tmp_path, words, says):
    log(tmp_path / "a.jsonl", 1, steps=12)
    (tmp_path / "notes.txt").write_text("nothing of the kind\n")
    ran = rlaws("fit", *words, "--json", "report=null", cwd=tmp_path)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert says in json.loads(ran.stdout)["error"]
    assert "Traceback" not in ran.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "notes.txt"]


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
    found = {a.study: a for a in askable()}
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


def test_every_dialect_ends_in_a_fit_or_in_a_sentence(tmp_path):
    """All samples of the importer's own tests; a single law, for speed."""
    import pkgutil
    from importlib import import_module

    from tests.logs import samples
    from tests.logs.conftest import spread

    modules = [import_module(f"{samples.__name__}.{m.name}") for m in pkgutil.iter_modules(samples.__path__)]
    every = {name: files for m in modules if hasattr(m, "samples") for name, files in m.samples().items()}
    facts = Facts({"*": 1.0}, groups={"*": 2}, batch=4)
    done, refused = 0, {}
    for i, (name, files) in enumerate(every.items()):
        path = spread(tmp_path / f"{i}/in", files)
        try:
            found = make(asked(path, laws=("linear_log",), facts=facts), NO_CLAIMS, tmp_path / f"{i}", "", Silent())
        except RlawsError as error:
            refused[name] = str(error)
            continue
        done += all(f.get("refusal") or f["bands"]["y"] for f in found.result["forecasts"])
    assert done == len(every) - len(refused) > 0.6 * len(every)
    assert all(len(sentence) > 40 for sentence in refused.values())
