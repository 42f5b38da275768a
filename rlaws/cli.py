"""The command line: list · plan · run · fit · status · report. Only ``list`` and ``status`` do without Hydra."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaws.errors import CellError, InputError, RlawsError, suggest

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from rlaws.runner import Finished

USAGE = """rlaws: a claim about scaling RL for reasoning models in, a verdict out.

  rlaws list [claims|laws|probes|policies|problems|studies|suites] [--json]
  rlaws plan study=group/name [budget=quick]            cells, cost and power, before anything is spent
  rlaws plan claim=group.name budget.flops=1e20 sizes=[.5,1.5,3,7]   which runs reach a verdict (sizes in 1e9)
  rlaws run  study=group/name [grid.key=[…]] [budget=quick|full] [seed=0]
  rlaws run  -m 'study=glob(credit/*)'                  several studies
  rlaws run  suite=quick                                all studies of a suite, and the report
  rlaws fit  logs=runs/*  [--explain]                   your training logs: forecasts, advice, judged claims, report
  rlaws status [runs=runs] [study=group/name] [--json]  done, running, failed, left, time left
  rlaws report [runs=runs] [fits=fits] [out=report]     the report of what is stored

Any key of the configuration can be set as key=value; --cfg job shows the composed configuration; --config-dir DIR adds
your own claims, studies and settings.
Exit codes: 0 done (whatever the verdict) · 1 a cell or a study failed · 2 the command or an input is not usable.
"""
UNSTORED = ("out", "report", "data_dir", "json", "engine")  # what no number depends on, and places of this machine
PARTS = ("policy", "problems", "probe", "claim", "grid", "study")
"""Keys of a study; given with a suite they are set in each of its studies."""
VERBS = ("list", "plan", "run", "fit", "status", "report")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        raise SystemExit(0 if args else 2)
    if args[0] not in VERBS:
        _fail(InputError(f"There is no command '{args[0]}'.{suggest(args[0], VERBS)}"), "--json" in args)
    if args[0] == "list":
        from rlaws.catalogue import print_list

        _guard(lambda: print_list(args[1:]), "--json" in args)
        return
    if args[0] == "status":
        _guard(lambda: _status(args[1:]), "--json" in args)
        return
    _one_thread_a_sum()
    _guard(lambda: _hydra(args[0], args[1:]), "json=true" in args or (args[0] == "fit" and "--json" in args))


def _one_thread_a_sum() -> None:
    """Hold BLAS and OpenMP to one thread before NumPy is loaded: the bits of a sum may depend on their number.

    Worker processes get the same (``engine.threads``), so a cell gives the same bytes here and there.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _status(words: Sequence[str]) -> None:
    """Print how far the runs are.

    Raises:
        InputError: Unknown word, or no run.
    """
    given = {"runs": "runs", "study": None}
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--json":
            continue
        if name not in given or not equals:
            raise InputError(f"rlaws status knows no '{word}'.{suggest(name, (*given, '--json'))}")
        given[name] = value
    from rlaws.progress import print_status
    from rlaws.status import statuses

    print_status(statuses(Path(str(given["runs"])), given["study"]), as_json="--json" in words)


def _guard(act: Any, as_json: bool) -> None:
    """Run a command; turn every error a user can cause into one sentence and an exit code."""
    try:
        act()
    except RlawsError as error:
        _fail(error, as_json)
    except BrokenPipeError:  # the reader (head, less) has what it wanted
        sys.stderr.close()
    except KeyboardInterrupt:
        print("Stopped. Finished cells are stored; the same command goes on.", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        translated = _hydra_error(error)
        if translated is None:
            raise
        _fail(translated, as_json)


def _fail(error: RlawsError, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": str(error)}, ensure_ascii=False))
    print(f"rlaws: {error}", file=sys.stderr)
    raise SystemExit(1 if isinstance(error, CellError) else 2)


def _hydra_error(error: BaseException) -> RlawsError | None:
    """Return a sentence for what Hydra or OmegaConf refuses, with the nearest key."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from rlaws.catalogue import nearest_option
    from rlaws.schema import nearest_key

    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        group = next((a.partition("=")[0] for a in sys.argv if re.fullmatch(r"\w+=null", a)), "group")
        return InputError(f"A group of the configuration cannot be null; leave it out with ~{group}.")
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return None
    text = str(error).split("\nConfig search path")[0].split("\nTo append to your config")[0].strip()
    return InputError(f"{text}{nearest_option(text, sys.argv) or nearest_key(text, sys.argv)}")


def _hydra(verb: str, args: list[str]) -> None:
    import hydra

    from rlaws.catalogue import conf_dir, expand_globs

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach _guard instead of Hydra's own printer
    own, each = _of_each_study(args) if verb == "run" else (args, [])
    sys.argv = [f"rlaws {verb}", *expand_globs(_arguments(verb, own))]
    tasks: dict[str, Callable[[DictConfig], None]] = {
        "run": partial(_run, each), "plan": _plan, "fit": _fit, "report": _report
    }  # fmt: skip
    raised: list[RlawsError] = []
    home = os.getpid()

    def quietly(cfg: DictConfig) -> None:
        """Keep our own errors from Hydra, which prints around them; of several jobs the first is shown at the end."""
        try:
            tasks[verb](cfg)
        except RlawsError as error:
            if os.getpid() != home:  # a launcher's process, from which a list brings nothing home
                raise
            raised.append(error)

    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(quietly)()
    if raised:
        raise raised[0]


def _of_each_study(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments of a suite, and those that are set in each of its studies: the suite has no such keys."""
    if not any(a.startswith("suite=") for a in args):
        return list(args), []
    each = [a for a in args if re.split(r"[.=@]", a.lstrip("+~"))[0] in PARTS]
    return [a for a in args if a not in each], each


def _arguments(verb: str, args: Sequence[str]) -> Sequence[str]:
    """Return the arguments as Hydra takes them."""
    if verb == "plan":
        return _planned(args)
    if verb == "fit":
        from rlaws.fits.settings import quoted

        return quoted(args)
    return args


# ------------------------------------------------------------------------------------------------ run
def _run(each: Sequence[str], cfg: DictConfig) -> None:
    """Run the study or the suite of a composed configuration; ``each`` is set in every study of a suite."""
    from rlaws.schema import plain

    values = plain(cfg)
    if values.get("suite"):
        _run_suite(values, each)
    elif values.get("study"):
        finished = _run_values(values, _command("run", values, _task_overrides()))
        _after([finished], values, str(values["study"]["id"]))
    else:
        raise InputError("Nothing to run: give study=group/name or suite=name; `rlaws list studies` shows them.")


def _run_suite(values: Mapping[str, Any], each: Sequence[str]) -> None:
    from rlaws.catalogue import read, suite_studies
    from rlaws.schema import compose_study

    finished = []
    given = [_family_of(o) for o in (*_task_overrides(), *each) if not o.startswith("suite=")]
    family = any(o.startswith("family=") for o in given)
    for name in suite_studies(values["suite"], _config_dirs()):
        written = read("study", name, _config_dirs())
        if written["study"]["rung"] not in values["suite"]["rungs"]:
            continue
        if family and "models" not in compose_study(name, [])["policy"]:
            continue  # it asks no model by name: the ladder's own study
        own = _for_study(given, written.get("grid", {}))
        composed = compose_study(name, own)
        finished.append(_run_values(composed, _command("run", composed, own)))
    _after(finished, values)


def _family_of(override: str) -> str:
    """Return a family for a policy of its name: studies of a suite differ in policy, but all can ask that family."""
    from rlaws.catalogue import names

    group, _, name = override.partition("=")
    return f"family={name}" if group == "policy" and name in names("family", _config_dirs()) else override


def _for_study(overrides: Sequence[str], axes: Collection[str]) -> list[str]:
    """Return the overrides that concern a study of a suite: values of an axis go to the studies that have it."""
    return [o for o in overrides if not o.startswith("grid.") or o.partition("=")[0].removeprefix("grid.") in axes]


def _run_values(values: Mapping[str, Any], command: str) -> Finished:
    """Run one study of a plain configuration, with a progress bar unless JSON is asked."""
    from rlaws.progress import bar
    from rlaws.runner import run_study
    from rlaws.schema import to_engine, to_study, validate

    model = validate(_beside_others(values))
    study = to_study(model)
    with bar(study.id, quiet=model.json_output) as tell:
        finished = run_study(study, to_engine(model.engine), model.out, _stored(values), command, tell)
    if model.report and finished.verdict is not None:
        _draw(finished)
    return finished


def _beside_others(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give each job of a launcher that runs several on this machine one process, not all cores to every one."""
    from hydra.core.hydra_config import HydraConfig

    engine, hydra = values["engine"], HydraConfig.get()
    launcher = str(hydra.launcher.get("_target_", "")) if hydra.mode and hydra.mode.name == "MULTIRUN" else ""
    all_cores = engine.get("name") == "local" and engine.get("workers") == 0
    if not all_cores or not launcher.endswith(("JoblibLauncher", "LocalLauncher")):
        return values
    return {**values, "engine": {**engine, "workers": 1}}


def _draw(finished: Finished) -> None:
    """Put the study's figure into its run folder, to be looked at before the report is written."""
    from rlaws.report import figures

    panels = json.loads((finished.folder / "panels.json").read_text(encoding="utf-8"))["panels"]
    assert finished.verdict is not None
    figures.save(figures.claim_figure(finished.verdict, panels), finished.folder / "figure.svg")


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the configuration is stored: all that determines the numbers, no places of this machine."""
    kept = {k: v for k, v in values.items() if k not in UNSTORED}
    return dict(_finite(kept))


def _finite(value: Any) -> Any:
    """Return a value that JSON can hold: an infinite bound becomes the word inf."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items() if k != "data_dir"}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _after(finished: Sequence[Finished], values: Mapping[str, Any], below: str = "") -> None:
    """Print the verdicts, write the report (of one study into a folder of its own), and fail if a study failed."""
    from rlaws.progress import print_verdicts
    from rlaws.report import write

    written: Mapping[str, Path] = {}
    if values["report"]:
        written = write([f.folder for f in finished], Path(values["report"]) / below)
    print_verdicts(finished, written, as_json=bool(values["json"]))
    failed = [f.problem for f in finished if f.problem and not f.missing_data]
    if failed:
        raise CellError("\n".join(failed))


def _command(verb: str, values: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """Return the command that reproduces a study: its name and the settings given by hand."""
    study = values["study"]["id"]
    given = [o for o in overrides if re.split(r"[.=]", o.lstrip("+~"))[0] not in ("study", "suite", *UNSTORED)]
    return _with(f"rlaws {verb} study={study}", given)


def _with(command: str, words: Sequence[str]) -> str:
    """Return a command with its words as a shell takes them."""
    return " ".join([command, *(shlex.quote(w) if any(c in w for c in " []()*?{}$&;<>|'\"") else w for w in words)])


def _task_overrides() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task)


def _config_dirs() -> list[Path]:
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return [Path(s.path) for s in sources if s.schema == "file"]


# ------------------------------------------------------------------------------------------------ plan, report
def _planned(args: Sequence[str]) -> list[str]:
    """Return the arguments of ``rlaws plan`` with a claim replaced by a study that measures it on learning curves."""
    from rlaws.catalogue import given_dirs
    from rlaws.designs.studies import curve_study

    claims = [a.partition("=")[2] for a in args if a.startswith("claim=")]
    asked = next((a.partition("=")[2] for a in args if a.startswith("study=")), None)
    if not claims or (asked is not None and "/" in claims[-1]):  # claim=group/name replaces the claim of a study
        return list(args)
    study = curve_study(claims[-1], asked, given_dirs(args))
    rest = [a for a in args if not a.startswith(("claim=", "study="))]
    return [*rest, f"study={study}", f"design.claim={claims[-1]}"]


def _plan(cfg: DictConfig) -> None:
    """Plan the study, or the designs for the claim, of a composed configuration."""
    from rlaws.schema import plain

    values = plain(cfg)
    if not values.get("study"):
        raise InputError("Nothing to plan: give study=group/name or claim=group.name; `rlaws list` shows them.")
    if values["design"]["claim"]:
        _plan_designs(values)
    else:
        _plan_study(values)


def _plan_study(values: Mapping[str, Any]) -> None:
    from rlaws.power import plan_study
    from rlaws.progress import print_plan
    from rlaws.schema import to_study, validate, without_designs

    model = validate(without_designs(values))
    pilot, simulations = values["pilot"], values["simulations"]
    if isinstance(pilot, str):
        raise InputError(f"pilot={pilot}: for a study it is the share of the budget; a table goes with claim=…")
    if values["budget"]["flops"] is not None:
        raise InputError("budget.flops bounds designs: give claim=group.name; a study's budget is quick or full.")
    planned = plan_study(
        to_study(model),
        pilot=0.25 if pilot is None else float(pilot),
        simulations=40 if simulations is None else int(simulations),
    )
    print_plan(planned, as_json=model.json_output)


def _plan_designs(values: Mapping[str, Any]) -> None:
    """Search for the cheapest design, with a progress bar unless JSON is asked."""
    from rlaws.designs.planning import plan_designs
    from rlaws.progress import bar, print_designs
    from rlaws.schema import to_request, to_study, validate, without_designs

    model = validate(without_designs(values))
    study, request = to_study(model), to_request(values)
    with bar(study.claim.id, quiet=model.json_output) as tell:
        found = plan_designs(study, request, tell)
    print_designs(found, as_json=model.json_output)


# ------------------------------------------------------------------------------------------------ fit, report
def _fit(cfg: DictConfig) -> None:
    """Import logs, forecast, judge the claims that they can answer, and report; or only explain what was understood."""
    from rlaws.fits import making, shown
    from rlaws.fits.settings import to_asked, validate
    from rlaws.logs.recipes import expand, files_of
    from rlaws.schema import plain

    model = validate(plain(cfg))
    asked = to_asked(model)
    size = sum(p.stat().st_size for p in files_of(expand(asked.logs.paths), asked.logs.dialect))
    with shown.bars(size, quiet=model.json_output) as tell:
        if model.explain:
            found = making.imported(asked, tell.read)
        else:
            done = making.make(asked, _claims(asked), model.out, _fit_command(), tell)
    if model.explain:
        shown.print_explained(*found, as_json=model.json_output)
        return
    from rlaws.report import write

    written = {} if model.report is None else write([], model.report, fits=[done.folder])
    shown.print_fit(done.folder, done.result, written, as_json=model.json_output)
    if done.failed:
        raise CellError("\n".join(done.failed))


def _claims(asked: Any) -> Any:
    """Return the studies that the logs may answer, composed, and what turns one into a study."""
    from rlaws.catalogue import read
    from rlaws.fits.judging import askable, stamp, wanted
    from rlaws.fits.making import Claims
    from rlaws.schema import compose_study, to_study, validate

    found = wanted(askable(_config_dirs()), asked.claims)
    places = {"out": "fits", "report": None, "data_dir": "", "json": True, "engine": {"name": "local", "workers": 1}}
    return Claims(
        found, lambda study: _stored(compose_study(study, [f"budget={asked.claims_budget}"])),
        {one.probe: read("probe", one.probe, _config_dirs()) for one in found if one.probe},
        lambda values: to_study(validate({**values, **places})), _stored, stamp(found, _config_dirs()),
    )  # fmt: skip


def _fit_command() -> str:
    """Return the command that makes a fit again, without places."""
    from rlaws.fits.settings import typed

    given = [o for o in _task_overrides() if o.partition("=")[0] not in (*UNSTORED, "explain")]
    return _with("rlaws fit", [typed(o) for o in given])


def _report(cfg: DictConfig) -> None:
    from rlaws.catalogue import run_folders
    from rlaws.fits.folder import fit_folders
    from rlaws.report import write
    from rlaws.schema import plain

    values = plain(cfg)
    fits = fit_folders(Path(values["fits"]))
    folders = run_folders(Path(values["runs"]), optional=bool(fits))
    written = write(folders, Path(values["out"]), formats=tuple(values["formats"]), fits=fits)
    if values["json"]:
        print(json.dumps({k: str(v) for k, v in written.items()}))
    else:
        for kind, path in written.items():
            print(f"{kind}: {path}")
