import json

import pytest

from tests.cli import SMALL, rlaws, verdict


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lst"], "Did you mean 'list'"),
        (["list", "claim"], "Did you mean 'claims'"),
        (["run"], "Nothing to run"),
        (["run", "study=credit/snr_decy"], "Did you mean 'credit/snr_decay'"),
        (["run", "study=credit/snr_decay", "claim=credit/snr_decy"], "Did you mean 'credit/snr_decay'"),
        (["run", "study=credit/snr_decay", "grid.recovry=[0]"], "Did you mean 'grid.recovery'"),
        (["run", "study=credit/snr_decay", "+grid.recovry=[0]"], "no such setting of policy, problems or probe. Did"),
        (["run", "study=credit/snr_decay", "budgt=quick"], "Did you mean 'budget'"),
        (["run", "study=credit/snr_decay", "grid.recovery=[-0.1]"], "recovery"),
        (["run", "study=credit/snr_decay", "policy.length=-5"], "length"),
        (["run", "study=credit/snr_decay", "grid.recovery=[]"], "grid.recovery is empty"),
        (["run", "study=credit/snr_decay", "seed=-1"], "seed"),
        (["run", "study=credit/snr_decay", "seed=null"], "seed"),
        (["run", "study=credit/snr_decay", "budget.scale=0"], "budget.scale"),
        (["run", "study=credit/snr_decay", "+claim.colour=red"], "claim.colour: there is no such key"),
        (["run", "study=credit/snr_decay", "+claim.statment=x"], "Did you mean 'statement'"),
        (["run", "study=credit/snr_decay", "claim.law=powr"], "no law 'powr'. Did you mean 'power'"),
        (
            [
                "run",
                "study=credit/snr_decay",
                "claim.x.x=distanc",
                "policy.length=8",
                "probe.rollouts=100",
                "grid.p=[0.9]",
            ],
            "Did you mean 'distance'",
        ),
        (["run", "study=credit/snr_decay", "grid={colour: [1]}"], "Set its entries one by one"),
        (["run", "study=credit/snr_decay", "probe._target_=os.system"], "outside the allowed packages"),
        (["run", "study=credit/snr_decay", "claim=null"], "leave it out with ~claim"),
        (["run", "-m", "study=glob(nothing/*)"], "matches nothing"),
        (["run", "suite=quik"], "Did you mean 'quick'"),
        (["report", "runs=nowhere"], "no finished run"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_commands_get_one_sentence(tmp_path, words, says):
    ran = rlaws(*words, *(["report=null"] if words[0] == "run" else []), cwd=tmp_path)
    assert ran.returncode != 0
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.rglob("verdict.json"))
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_study_runs_and_says_how_to_run_it_again(tmp_path):
    ran = rlaws("run", *SMALL, "json=true", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    first = verdict(ran)
    assert "study=search/fail_1_over_n_single" in first["command"]
    assert "problems.size=400" in first["command"]
    again = rlaws("run", *SMALL, "json=true", cwd=tmp_path)
    assert verdict(again) == first
    folder = json.loads(again.stdout)["runs"][0]["folder"]
    manifest = json.loads((tmp_path / folder / "manifest.json").read_text())
    assert manifest["cells"]["reused"] == manifest["cells"]["total"]
    assert manifest["versions"]["numpy"]


def test_another_seed_is_another_run_and_zero_is_a_seed(tmp_path):
    runs = [rlaws("run", *SMALL, "json=true", f"seed={s}", cwd=tmp_path) for s in (0, 1)]
    folders = {json.loads(r.stdout)["runs"][0]["folder"] for r in runs}
    assert len(folders) == 2
    assert verdict(runs[0])["seed"] == 0


def test_composed_configuration_is_shown(tmp_path):
    ran = rlaws(
        "run", "study=credit/snr_decay", "grid.recovery=[0,.02,.1]", "budget=quick", "--cfg", "job", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert "recovery:\n  - 0\n  - 0.02\n  - 0.1" in ran.stdout
    assert not list(tmp_path.iterdir())


def test_several_studies_by_pattern(tmp_path):
    ran = rlaws("run", "-m", "study=glob(search/fail_1_over_n_sing*)", *SMALL[1:], cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "runs/search/fail_1_over_n_single").exists()


def test_a_suite_sets_parts_in_each_of_its_studies_and_an_axis_where_it_is_one(tmp_path):
    folder = tmp_path / "conf" / "suite"
    folder.mkdir(parents=True)
    (folder / "two.yaml").write_text('studies: ["search/fail_1_over_n*", "training/log_linear_qwen25"]\nrungs: [sim]\n')
    words = [f"--config-dir={tmp_path / 'conf'}", "suite=two", "grid.p=[0.05]", "grid.alpha=[1.0]", *SMALL[2:]]
    words += ["problems.size=1000"]
    runs = json.loads(rlaws("run", *words, "json=true", cwd=tmp_path, check=True).stdout)["runs"]
    told = {r["verdict"]["study"]: r["verdict"] for r in runs}
    assert set(told) == {"search/fail_1_over_n", "search/fail_1_over_n_single"}  # the table has no problems to set
    assert told["search/fail_1_over_n"]["grid"]["alpha"] == [1.0]
    assert told["search/fail_1_over_n_single"]["grid"] == {"p": [0.05]}
    assert "problems.size=1000" in told["search/fail_1_over_n"]["command"]
    assert "grid.p" not in told["search/fail_1_over_n"]["command"]


def test_missing_data_says_what_to_fetch_and_is_no_failure(tmp_path):
    ran = rlaws("run", "study=search/fail_1_over_n_pythia", f"data_dir={tmp_path}/none", "report=null", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (manifest,) = tmp_path.rglob("manifest.json")
    record = json.loads(manifest.read_text())
    assert record["status"] == "missing data"
    assert "counts.csv" in record["error"]


def test_an_unreadable_table_is_named(tmp_path):
    (tmp_path / "data/pythia-math-counts/counts.csv").mkdir(parents=True)
    ran = rlaws("run", "study=search/fail_1_over_n_pythia", f"data_dir={tmp_path}/data", "report=null", cwd=tmp_path)
    assert ran.returncode != 0
    assert "counts.csv" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_policy_that_lacks_a_capability_is_refused(tmp_path):
    ran = rlaws("run", "study=credit/snr_decay", "policy=uniform", "~grid.p", "~grid.recovery", "~grid.dense_noise",
                "report=null", cwd=tmp_path)  # fmt: skip
    assert ran.returncode != 0
    assert "needs GRADIENT" in ran.stderr
    assert "offers" in ran.stderr


def test_json_errors_are_json(tmp_path):
    ran = rlaws("run", "study=credit/snr_decy", "json=true", cwd=tmp_path)
    assert ran.returncode == 2
    assert "Did you mean" in json.loads(ran.stdout)["error"]


def test_brackets_in_a_command_are_printed_as_they_are(capsys, tmp_path):
    """A path in a list looks like a closing tag to the table's printer."""
    from rlaws.progress import print_verdicts
    from rlaws.runner import Finished

    said = "1 of 1 cells failed. Retry: policy.models=[/some/model] grid.p=[0.1]"
    print_verdicts([Finished(tmp_path / "a" / "b", None, said)], {}, as_json=False)
    shown = "".join(capsys.readouterr().out.split()).replace("│", "")
    assert "[/" in shown
    assert "grid" in shown


def test_a_family_stands_for_the_policy_of_its_name_in_a_suite(monkeypatch):
    from rlaws import cli

    monkeypatch.setattr(cli, "_config_dirs", list)
    assert cli._family_of("policy=qwen25") == "family=qwen25"
    assert cli._family_of("policy=toy") == "policy=toy"
    words = ["suite=llm", "policy=qwen25", "backend=hf", "grid.base_seed=[0]", "out=x"]
    assert cli._of_each_study(words) == (["suite=llm", "backend=hf", "out=x"], ["policy=qwen25", "grid.base_seed=[0]"])
    assert cli._of_each_study(words[1:]) == (words[1:], [])
