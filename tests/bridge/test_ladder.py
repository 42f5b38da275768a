"""The ladder: its tokenizer, its teacher, its bases. Chance, entropies and error rates are known in closed form."""

import json
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_bridge import ladder, pretraining, vocabulary
from llm_bridge.corpus import RECIPES, Recipe, demonstrations, error_rates, recipe_of, shown_values, solution
from llm_bridge.ladder_table import Exam, LadderTable
from llm_bridge.pretraining import Machine, Shape
from rlaws.errors import InputError, RlawsError
from rlaws.probes.base import Budget
from rlaws.probes.tabulated import Tabulated
from rlaws.problems import ArithmeticChain, ChainProblem, grade, read_text
from rlaws.seeding import seed_sequence

STANDARD = recipe_of("standard")
TINY = recipe_of("tiny")
SHAPE = Shape(*ladder.RUNGS["0.1M"])


@pytest.fixture(scope="module")
def base(_own_cache):
    """Directory of a base of the tiny recipe, trained now: a few core seconds."""
    return ladder.directory("0.1M", 0, "tiny", Machine())


@pytest.fixture(scope="module")
def words():
    return pretraining.tokenizer_of(STANDARD)


# ---------------------------------------------------------------------------------------------------------- tokenizer
@settings(deadline=None)  # the first example trains the tokenizer
@given(text=st.text(max_size=80))
def test_any_text_comes_back(text):
    words = pretraining.tokenizer_of(TINY)
    ids = words.encode(text, add_special_tokens=False).ids
    if not any(special in text for special in vocabulary.SPECIAL):
        assert words.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["", "\x00\x7f", "héllo 你好 🙂", "Step 12: 34\r\n", "mod 2026, step 3: -7", "�"])
def test_odd_texts_come_back(text, words):
    assert words.decode(words.encode(text).ids) == text


def test_a_phrase_is_a_token_and_a_digit_is_a_token(words):
    problem = STANDARD.chains(1).draw(seed_sequence(0, "phrases")).items[0]
    asked = words.encode(vocabulary.USER + problem.to_text() + vocabulary.ASSISTANT).tokens
    answered = [words.decode([i]) for i in words.encode(problem.solution_text()).ids]
    assert len(asked) == 7 + 2 * STANDARD.length
    assert len(answered) == 2 * STANDARD.length
    assert answered[1::2] == [str(x) for x in problem.states]
    assert [words.decode([i]) for i in words.encode("2026").ids] == list("2026")
    assert "Step 12: " not in words.get_vocab()


def test_all_prompts_of_a_recipe_have_one_length(words):
    problems = STANDARD.chains(300).draw(seed_sequence(1, "lengths")).items
    assert {len(words.encode(p.to_text()).ids) for p in problems} == {5 + 2 * STANDARD.length}


def test_every_way_to_load_the_tokenizer_gives_the_saved_ids(base):
    saved, auto = Tokenizer.from_file(str(base / "tokenizer.json")), AutoTokenizer.from_pretrained(base)
    problem = TINY.chains(1).draw(seed_sequence(2, "ids")).items[0]
    for text in (problem.to_text(), problem.solution_text(), "Any other text, 1 + 1 = 2;\tstep 7: ünïcode"):
        assert auto(text, add_special_tokens=False)["input_ids"] == saved.encode(text).ids
        assert auto.decode(saved.encode(text).ids) == text
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    assert auto.apply_chat_template(turns, tokenize=False) == "<|user|>Why?<|assistant|>So.<|end|>"
    asked = auto.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|user|>Why?<|assistant|>"


# ------------------------------------------------------------------------------------------------------------ teacher
def test_the_teacher_errs_as_the_recipe_says():
    """8,000 solutions: each step's share of errors within 5 standard errors, a false alarm in 10^6."""
    problems = STANDARD.chains(8_000).draw(seed_sequence(3, "teacher"))
    shown = shown_values(problems, STANDARD, np.random.default_rng(0))
    wrong = ~grade(problems, np.arange(len(problems)), shown).step_correct
    rates = error_rates(problems, STANDARD)
    assert rates.min() >= STANDARD.error_low
    assert rates.max() <= STANDARD.error_high
    for low, high in ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3)):
        chosen = (rates >= low) & (rates < high)
        band = 5 * np.sqrt((rates[chosen] * (1 - rates[chosen])).sum()) / chosen.sum()
        assert wrong[chosen].mean() == pytest.approx(rates[chosen].mean(), abs=band)


def test_a_faultless_teacher_writes_the_right_solution():
    recipe = replace(STANDARD, error_low=0.0, error_high=0.0, ill_formed=0.0)
    problems = recipe.chains(50).draw(seed_sequence(4, "faultless"))
    shown = demonstrations(problems, recipe, np.random.default_rng(0))
    assert shown == [(p.to_text(), p.solution_text()) for p in problems.items]
    assert solution(np.array([3, 1]), np.array([True, True])) == "Step 1: 3\nStep 2: 1"


def test_a_few_solutions_are_ill_formed():
    problems = STANDARD.chains(8_000).draw(seed_sequence(5, "form"))
    shown = demonstrations(problems, STANDARD, np.random.default_rng(0))
    ill = np.mean([(read_text(answer, STANDARD.length) < 0).any() for _, answer in shown])
    band = 5 * np.sqrt(STANDARD.ill_formed / 8_000)
    assert ill == pytest.approx(STANDARD.ill_formed, abs=band)


def test_the_shuffled_teacher_answers_other_problems():
    recipe = RECIPES["shuffled"]
    problems = recipe.chains(8_000).draw(seed_sequence(6, "shuffled"))
    shown = demonstrations(problems, recipe, np.random.default_rng(0))
    values = np.array([read_text(answer, recipe.length) for _, answer in shown])
    right = grade(problems, np.arange(8_000), values).outcome.mean()
    assert right == pytest.approx((1 - recipe.ill_formed) / recipe.modulus, abs=5 * np.sqrt(0.16 / 8_000) + 0.005)


def test_a_cut_line_break_is_shown_and_not_learned(words):
    pairs = [(p.to_text(), p.solution_text()) for p in STANDARD.chains(400).draw(seed_sequence(7, "cut")).items]
    rows = pretraining.encoded(pairs, words, np.random.default_rng(0))
    alone = words.token_to_id("Ċ")  # a line break in the byte alphabet
    asked = rows.learned.int().argmax(1)
    cut = (rows.tokens == alone).any(1)
    assert 0.06 < cut.float().mean() < 0.19  # 1/8 of 400 within four standard errors
    assert not rows.learned[rows.tokens == alone].any()
    for i in range(0, 400, 17):
        learned = rows.tokens[i][rows.tokens[i] != words.token_to_id(vocabulary.PAD)].tolist()
        assert words.decode(learned[int(asked[i]) :]) == pairs[i][1]
        assert learned[-1] == words.token_to_id(vocabulary.END)


# -------------------------------------------------------------------------------------------------------------- bases
def test_the_rungs_have_the_sizes_of_their_names():
    for rung, (width, _, heads, _) in ladder.RUNGS.items():
        assert ladder.parameters_of(rung) == pytest.approx(1e6 * float(rung.removesuffix("M")), rel=0.08)
        assert width % heads == 0
        assert width // heads in (32, 64)


def test_a_base_is_a_model_directory_like_any_other(base):
    model = AutoModelForCausalLM.from_pretrained(base)
    assert sum(p.numel() for p in model.parameters()) == ladder.parameters_of("0.1M", "tiny")
    assert model.config.model_type == "llama"
    assert model.generation_config.do_sample
    assert json.loads((base / "generation_config.json").read_text())["do_sample"] is True
    assert {p.name for p in base.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert ladder.directory("0.1M", 0, "tiny", Machine()) == base


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    recipe = replace(TINY, steps=3, batch=8)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        torch.manual_seed(len(name))
        pretraining.pretrain(SHAPE, recipe, seed, Machine(), tmp_path / name)
    one, two, other = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two", "other"))
    assert one == two
    assert one["model.safetensors"] != other["model.safetensors"]
    assert one["tokenizer.json"] == other["tokenizer.json"]


def test_torchs_own_stream_is_left_alone(words):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    pretraining.initial(SHAPE, words, 0)
    assert torch.equal(torch.rand(3), want)


def uniform_loss(recipe: Recipe) -> float:
    """Nats a token of a model that knows the form and nothing of the values."""
    return recipe.length * np.log(recipe.modulus) / (2 * recipe.length + 1)


def test_a_base_learns_more_than_the_form(base):
    losses = pretraining.curve(base)["losses"]
    assert len(losses) == TINY.steps
    assert np.mean(losses[-20:]) < 0.75 * uniform_loss(TINY)


def test_a_base_solves_problems_above_chance_and_wrong_pairs_at_chance(base):
    """Mean over 64 problems x 8 answers; 0.15 above chance is four standard errors of a share at 1/3."""
    engine = LadderTable(recipe="tiny", device="cpu")._engine("0.1M", 0)
    exam = Exam.of(TINY, 64)
    found = exam.marks(engine, 8, 0)
    assert found["pass_at_1"].mean() > 1 / TINY.modulus + 0.15
    assert found["own_problem"].mean() > 0.15
    assert 0 <= exam.excess(engine) < 0.5


class Guesser:
    """Answers every problem with the same share of each value, in good form."""

    def __init__(self, modulus: int, length: int) -> None:
        self.modulus, self.length = modulus, length

    def generate(self, requests, sampling):
        from llm_bridge.backends.base import Completion

        shown = [solution(np.full(self.length, k % self.modulus), np.ones(self.length, bool)) for k in range(100)]
        return [[Completion(shown[k], 1, None, True) for k in range(r.n)] for r in requests]


def test_answers_that_do_not_depend_on_the_problem_know_nothing():
    """The negative control in closed form: pass@1 is 1/m, nothing is due to the problem, nothing varies."""
    found = Exam.of(TINY, 200).marks(Guesser(TINY.modulus, TINY.length), 12, 0)
    assert found["pass_at_1"] == pytest.approx(np.full(200, 1 / 3))
    assert found["own_problem"] == pytest.approx(np.zeros(200))
    assert found["variance"] == pytest.approx(np.zeros(200))


def test_the_table_is_a_measurement_of_every_base(base):
    table = LadderTable(rungs=("0.1M",), seeds=(0,), recipe="tiny", held_out=20, samples=2, device="cpu")
    probe = Tabulated(
        value="value", x=("parameters",), cluster=("independent",), regime=("quantity", "base"), runs="independent"
    )
    measured = probe.measure(table, None, Budget("quick", 1.0, 100), seed_sequence(0, "table"))
    columns = measured.columns
    assert set(columns["quantity"]) == {"pass_at_1", "own_problem", "variance", "excess_loss"}
    assert set(columns["parameters"]) == {float(ladder.parameters_of("0.1M", "tiny"))}
    assert columns["total"][columns["base"] == "all"].size == 1
    assert (columns["base"] == "0.1M, base 0").sum() == 3 * 20


def test_the_variance_between_problems_is_that_of_a_known_solver():
    """Half the problems are always right, half never: the variance is 1/4."""

    class Half(Guesser):
        def generate(self, requests, sampling):
            answer = super().generate(requests, sampling)[0][0]
            right = [replace(answer, text=ChainProblem.from_text(r.question).solution_text()) for r in requests]
            return [[x if i % 2 else replace(x, text="")] * requests[0].n for i, x in enumerate(right)]

    found = Exam.of(TINY, 200).marks(Half(3, 2), 4, 0)
    assert found["pass_at_1"].mean() == 0.5
    assert found["variance"].mean() == pytest.approx(0.25 * 200 / 199)


def test_the_excess_of_the_teacher_itself_is_nothing():
    exam = Exam.of(STANDARD, 64)
    assert exam.taught().shape == (64, STANDARD.length)
    assert np.exp(exam.taught()).max() <= 1 - STANDARD.error_low
    rates = error_rates(exam.problems, STANDARD)
    follows = grade(exam.problems, np.arange(64), exam.shown).step_correct
    assert np.exp(exam.taught())[follows] == pytest.approx(1 - rates[follows])


def test_the_learning_rate_rises_and_falls():
    rates = [pretraining.rate(i, 400) for i in range(400)]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[0] < 0.03
    assert rates[-1] == pytest.approx(pretraining.LAST, abs=1e-3)
    assert np.all(np.diff(rates[60:]) < 0)


# ------------------------------------------------------------------------------------------------------------- errors
def test_a_rung_that_is_not_there_names_those_that_are():
    with pytest.raises(InputError, match=r"no rung '1B'.*0\.1M, 0\.3M, 1M"):
        ladder.directory("1B", 0)
    with pytest.raises(InputError, match="Did you mean 'standard'"):
        ladder.directory("0.1M", 0, "standrad")


def test_a_loss_that_is_no_number_stops_with_the_update():
    lost = [torch.tensor(1.0)] * 5 + [torch.tensor(float("nan"))]
    with pytest.raises(RlawsError, match="no finite number from update 6 on"):
        pretraining.refuse_if_lost(lost, "base 0")
    pretraining.refuse_if_lost(lost[:5], "base 0")


@pytest.mark.parametrize("wrong", [{"error_low": 0.4}, {"ill_formed": 1.0}, {"modulus": 11}, {"steps": 0}])
def test_recipes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [{"rungs": ("2M",)}, {"samples": 3}, {"seeds": ()}, {"dtype": "fp8"}])
def test_tables_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        LadderTable(**wrong)


def test_the_problems_of_the_studies_are_those_of_the_standard_recipe():
    from pathlib import Path

    import yaml

    config = yaml.safe_load((Path(__file__).parents[2] / "conf/problems/llm_chain.yaml").read_text(encoding="utf-8"))
    own = STANDARD.chains(config["size"])
    assert ArithmeticChain(**{k: v for k, v in config.items() if k != "_target_"}) == own


@pytest.mark.slow
def test_a_base_trained_on_shuffled_solutions_knows_nothing(tmp_path):
    """The negative control: 200 problems x 16 answers, 5 standard errors of a difference of two shares."""
    recipe = replace(TINY, shuffled=True)
    (tmp_path / "base").mkdir()
    partial(pretraining.pretrain, SHAPE, recipe, 0, Machine())(tmp_path / "base")
    from llm_bridge.settings import ModelSettings

    engine = ModelSettings(models=(str(tmp_path / "base"),), device="cpu", store=False).open()
    found = Exam.of(recipe, 200).marks(engine, 16, 0)
    assert abs(found["own_problem"].mean()) < 5 * np.sqrt(2 * (2 / 9) / (200 * 16)) + 0.02
    assert asdict(recipe)["shuffled"]
