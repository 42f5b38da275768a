"""Tasks: words out, grades back, on families whose answers are known."""

import json
import threading

import numpy as np
import pytest

from llm_bridge.tasks import answers
from llm_bridge.tasks.asked import Judged
from llm_bridge.tasks.base import NO_ANSWER, task_of
from llm_bridge.tasks.gym import GymProblems
from llm_bridge.tasks.jsonl import JsonlProblems
from llm_bridge.tasks.judge import JUDGE
from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain, BetaProblems, ChainProblem, Operation, ProblemSet, grade

SEED = np.random.SeedSequence(5)
CHAINS = ArithmeticChain(4, 7, 0.2, 40).draw(SEED)


# ---------------------------------------------------------------------------------------------------------- the chain
def test_right_solutions_are_right_and_formed():
    task = task_of(CHAINS)
    graded = task.grade(np.arange(40), task.solutions)
    assert graded.correct.all()
    assert graded.valid.all()
    assert graded.step_correct.all()
    assert graded.answer.tolist() == [item.answer for item in CHAINS.items]
    assert [ChainProblem.from_text(q).answer for q in task.questions] == graded.answer.tolist()


def test_any_values_are_graded_as_the_core_grades_them():
    task = task_of(CHAINS)
    rows = np.repeat(np.arange(40), 5)
    values = np.random.default_rng(0).integers(0, 7, (200, 4))
    texts = ["\n".join(f"Step {t}: {v}" for t, v in enumerate(row, 1)) for row in values]
    graded, core = task.grade(rows, texts), grade(CHAINS, rows, values)
    assert (graded.step_correct == core.step_correct).all()
    assert (graded.correct == core.outcome).all()
    assert 0 < graded.correct.mean() < 1


@pytest.mark.parametrize(
    ("text", "answer", "valid"),
    [
        ("Step 1: 1\nStep 2: 2\nStep 3: 3\nStep 4: 4", 4, True),
        ("Step 1: 1\nStep 2: 2\nStep 3: 3", NO_ANSWER, False),
        ("Step 4: 4", 4, False),
        ("Step 1: 1\nStep 2: 2\nStep 3: 3\nStep 4: 9", NO_ANSWER, False),
        ("Step 1: 1\nStep 3: 2\nStep 2: 3\nStep 4: 4", 4, False),
        ("So:\nStep 1: 1\nStep 2: 2\nStep 3: 3\nStep 4: it is 4", 4, False),
        ("", NO_ANSWER, False),
    ],
)
def test_form_and_answer_are_two_things(text, answer, valid):
    graded = task_of(CHAINS).grade(np.zeros(1, dtype=int), [text])
    assert (graded.answer[0], graded.valid[0]) == (answer, valid)


def test_right_steps_end_at_the_first_error():
    problem = ChainProblem("x", 1, 7, (Operation("add", 1), Operation("set", 3), Operation("add", 1)))
    task = task_of(ProblemSet(np.array(["x"]), {}, (problem,)))
    assert task.right_steps(0, "Step 1: 2\nStep 2: 3") == 2
    assert task.right_steps(0, "Step 1: 5\nStep 2: 3\nStep 3: 4") == 0
    assert task.grade(np.zeros(1, dtype=int), ["Step 1: 5\nStep 2: 3\nStep 3: 4"]).correct[0], "a set step heals"
    assert not task.complete("Step 1: 2\nStep 2: 3\n")
    assert task.complete("Step 1: 2\nStep 2: 3\nStep 3: 4")


def test_problems_without_words_are_refused():
    with pytest.raises(InputError, match=r"beta-000000.*have no words"):
        task_of(BetaProblems(1, 1, 3).draw(SEED))
    with pytest.raises(InputError, match="needs problems"):
        task_of(None)


# ------------------------------------------------------------------------------------------------------ final answers
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so <answer> 12 </answer>", "12"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),
        (r"thus \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"thus \boxed{1", None),
        ("The final answer is 7.", "7"),
        ("Answer: x + 1\nbye", "x + 1"),
        ("<answer></answer>", None),
        ("I do not know", None),
    ],
)
def test_final_answers(text, found):
    assert answers.final_answer(text) == found


def test_only_tags_where_graders_want_them():
    assert answers.final_answer("The answer is 7", only_tagged=True) is None


@pytest.mark.parametrize(
    ("text", "value"), [("1,234.50", "1234.5"), ("it is -3", "-3"), ("3/4", "3/4"), ("1/0", None), ("none", None)]
)
def test_numbers_are_exact(text, value):
    found = answers.number(text)
    assert found is None if value is None else found == answers.number(value)
    assert answers.number("0.1") + answers.number("0.2") == answers.number("0.3")


# ------------------------------------------------------------------------------------------------------ reasoning-gym
@pytest.fixture(scope="module")
def gym():
    knobs = {"chain_sum": {"min_terms": 2, "max_terms": 2}}
    return GymProblems(("chain_sum", "letter_counting"), 8, knobs).draw(SEED)


def test_families_grade_their_own_answers_as_right_and_half_answers_as_wrong(gym):
    task = task_of(gym)
    rows = np.arange(8)
    graded = task.grade(rows, task.solutions)
    assert graded.correct.all()
    assert graded.valid.all()
    assert (graded.answer == 0).all()
    loose = [f"<answer>The answer is {item.answer}</answer>" for item in gym.items]
    assert not task.grade(rows, loose).correct.any(), "partial scores are no success"
    bare = task.grade(rows, [item.answer for item in gym.items])
    assert not bare.valid.any()
    assert (bare.answer == NO_ANSWER).all()


def test_wrong_answers_share_a_class_when_equal(gym):
    texts = [answers.tagged(x) for x in ("-77", "-78", " -77 ")]
    graded = task_of(gym).grade(np.zeros(3, dtype=int), texts)
    assert graded.answer[0] == graded.answer[2] != graded.answer[1]
    assert (graded.answer > 0).all()


def test_the_seed_names_the_problems(gym):
    again = GymProblems(("chain_sum", "letter_counting"), 8, {"chain_sum": {"min_terms": 2, "max_terms": 2}})
    assert again.draw(SEED).items == gym.items
    assert again.draw(np.random.SeedSequence(6)).items != gym.items


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        ({"families": ("chain_sm",), "size": 1}, "Did you mean 'chain_sum'"),
        ({"families": ("chain_sum",), "size": 1, "knobs": {"chain_sum": {"terms": 2}}}, "refuses.*terms"),
        ({"families": ("game_of_life_halting",), "size": 12}, "cannot be graded exactly"),
    ],
)
def test_families_that_cannot_be_used(problems, said):
    with pytest.raises(InputError, match=said):
        GymProblems(**problems).draw(SEED)


def test_gym_settings_are_checked():
    with pytest.raises(InputError, match="does not divide"):
        GymProblems(("chain_sum", "gcd"), 3)
    with pytest.raises(InputError, match="Did you mean 'gcd'"):
        GymProblems(("gcd",), 3, {"gdc": {}})


# --------------------------------------------------------------------------------------------------------- JSON lines
def written(tmp_path, rows):
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return str(path)


def test_own_questions(tmp_path):
    rows = [{"q": "half of 1?", "a": "1/2", "n": "h", "level": 1}, "", {"q": "2+2?", "a": 4, "n": "s", "level": 2}]
    path = written(tmp_path, rows)
    made = JsonlProblems(path, "q", "a", "n", ("level",), instruction="")
    problems = made.draw(SEED)
    task = task_of(problems)
    assert task.questions == ("half of 1?", "2+2?")
    assert problems.ids.tolist() == ["h", "s"]
    assert problems.difficulty["level"].tolist() == [1.0, 2.0]
    said = [r"so \boxed{0.5}", "<answer>4</answer>", "<answer>5</answer>", r"\boxed{\frac{2}{4}}"]
    graded = task.grade(np.array([0, 1, 1, 0]), said)
    assert graded.correct.tolist() == [True, True, False, True]
    assert len(JsonlProblems(path, "q", "a", size=1).draw(SEED)) == 1
    assert [p.name for p in made.sources()] == ["own.jsonl"]


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([{"question": "a", "answer": "b"}, "{"], {}, "line 2: no JSON"),
        (["3"], {}, "line 1: a JSON object is needed, not int"),
        ([{"question": "a", "anwser": "b"}], {}, "line 1: there is no key 'answer'. Did you mean 'anwser'"),
        ([{"question": 3, "answer": "b"}], {}, "line 1, key 'question': 3 is not a text"),
        (
            [{"question": "a", "answer": "b", "d": "x"}],
            {"difficulties": ("d",)},
            "line 1, key 'd': 'x' is not a number",
        ),
        ([{"question": "a", "answer": "b", "n": 1}] * 2, {"id": "n"}, "names several problems '1'"),
        ([], {}, "has 0 problems"),
        ([{"question": "a", "answer": "b"}], {"size": 2}, "has 1 problems; 2 asked"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, rows, settings, said):
    with pytest.raises(InputError, match=said):
        JsonlProblems(written(tmp_path, rows), **settings).draw(SEED)


def test_a_missing_file_and_mode():
    with pytest.raises(InputError, match=r"There is no file 'nowhere.jsonl'"):
        JsonlProblems("nowhere.jsonl").draw(SEED)
    with pytest.raises(InputError, match="Did you mean 'math'"):
        JsonlProblems("x", mode="maths")


@pytest.mark.parametrize(
    ("mode", "answer", "right"),
    [
        ("exact", "1/2 ", True), ("exact", "0.5", False), ("numeric", "0.5", True), ("numeric", "so 1/2", True),
        ("numeric", "0.51", False), ("math", r"\frac{1}{2}", True), ("math", "half", False),
    ],
)  # fmt: skip
def test_modes(tmp_path, mode, answer, right):
    path = written(tmp_path, [{"question": "half?", "answer": "1/2"}])
    item = JsonlProblems(path, mode=mode).draw(SEED).items[0]
    judged = item.judge(answer)
    assert isinstance(judged, Judged)
    assert judged.right is right


# ---------------------------------------------------------------------------------------------------------- the judge
def test_an_endless_answer_is_wrong_and_the_next_one_is_judged_all_the_same():
    assert JUDGE.ask("math", gold="1", answer="1") == {"right": True, "form": "1"}
    assert JUDGE.ask("math", limit_s=1.0, gold="1", answer="9^{9^{9^{9^{9}}}}") is None
    replies = []
    threads = [
        threading.Thread(target=lambda x=x: replies.append(JUDGE.ask("math", gold="x+1", answer=x)["right"]))
        for x in ("1+x", "x+2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [False, True]
