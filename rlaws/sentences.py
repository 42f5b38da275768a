"""Sentences about numbers in English and Chinese: what forecasts, fits and the import of logs say, in one place.

``said`` fills a row with numbers. The result is the English text, and carries the Chinese one, so that it stands
wherever a text may stand: in a message, in a note, on the terminal. ``text_of`` returns both for what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

LANGUAGES = ("en", "zh")


class Said(str):
    """An English sentence that carries its Chinese."""

    __slots__ = ("zh",)
    zh: str

    def __new__(cls, en: str, zh: str) -> Said:
        """Make one from both texts."""
        made = super().__new__(cls, en)
        made.zh = zh
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """Return what a copy is made from."""
        return str(self), self.zh

    def mapped(self, change: Callable[[str], str]) -> Said:
        """Return the same with both texts changed."""
        return Said(change(str(self)), change(self.zh))


def said(key: str, **values: object) -> Said:
    """Return a sentence of the table filled with values; a value may itself be a sentence in both languages."""
    en, zh = SENTENCES[key]
    texts = {k: text_of(v) if isinstance(v, Said | Exception) else {"en": v, "zh": v} for k, v in values.items()}
    parts = ({k: t.get(n, t["en"]) for k, t in texts.items()} for n in LANGUAGES)
    return Said(*(row.format(**part) for row, part in zip((en, zh), parts, strict=True)))


def joined(parts: Sequence[str], between: str = "") -> Said:
    """Return sentences one after the other, in each language, with what stands between them."""
    found = [text_of(part) for part in parts]
    zh = text_of(between).get("zh", between)
    return Said(str(between).join(t["en"] for t in found), zh.join(t.get("zh", t["en"]) for t in found))


def text_of(value: object) -> dict[str, str]:
    """Return a sentence, or that of an error, by language; of plain text the English alone."""
    if isinstance(value, Exception):
        value = value.args[0] if len(value.args) == 1 else str(value)
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    return {"en": str(value), "zh": value.zh} if isinstance(value, Said) else {"en": str(value)}


def english(value: object) -> str:
    """Return the English of a sentence as it is stored."""
    return text_of(value)["en"]


SENTENCES: dict[str, tuple[str, str]] = {
    # ---- curves that turn back
    "bend": (
        "Run '{run}' turns back at x = {x:.4g}: '{metric}' has given back {share:.0%} of its range since "
        "(p = {p:.3g}).",
        "运行“{run}”在 x = {x:.4g} 处回落：此后“{metric}”已回吐其变化幅度的 {share:.0%}（p = {p:.3g}）。",
    ),
    "bend_refusal": (
        "{bend} No law of the list can turn back, so none is extrapolated. Forecast the part before, add a law that "
        "turns (gao_bon, gao_rl, quadratic_log){way_out}.",
        "{bend}所列各律都不能回落，故不外推。请只预测回落之前的部分，或加入可回落的律"
        "（gao_bon、gao_rl、quadratic_log）{way_out}。",
    ),
    "bend_way_out": (", or pass bends=False", "，或设 bends=False"),
    "laws_way_out": ("; laws=[…] names them", "；用 laws=[…] 指定"),
    "bend_left_out": (
        "{bend} Laws that cannot turn back were left out: {laws}.",
        "{bend}不能回落的律未参与：{laws}。",
    ),
    # ---- diagnoses
    "collapse": ("collapse", "崩溃"),
    "overfitting": ("overfitting", "过拟合"),
    "reward hacking": ("reward hacking", "奖励作弊"),
    "parted": (
        "'{true}' falls from x = {x:.4g} on while '{trained}' rises ({z:.1f} standard errors).",
        "自 x = {x:.4g} 起“{true}”下降，而“{trained}”上升（{z:.1f} 个标准误）。",
    ),
    "entropy_gone": (
        "'entropy' fell below {gone:.0%} of its first value at x = {x:.4g}, and '{reward}' has not risen since.",
        "“entropy”在 x = {x:.4g} 处降到初值的 {gone:.0%} 以下，此后“{reward}”没有上升。",
    ),
    "longer": (
        "'length' grew from {start:.4g} to {end:.4g} after x = {x:.4g} while '{reward}' did not rise.",
        "x = {x:.4g} 之后“length”由 {start:.4g} 增至 {end:.4g}，而“{reward}”没有上升。",
    ),
    # ---- notes of a forecast
    "one_run": (
        "There is one run: the bands are about this run and leave out the spread from seed to seed, which one run "
        "cannot show.",
        "只有一次运行：区间只关于这次运行，不含种子之间的差异，单次运行无法显示这种差异。",
    ),
    "no_origin": (
        "There are too few points for an earlier origin, so all laws have the same weight.",
        "点太少，没有更早的起点，故各律权重相同。",
    ),
    "no_ends": (
        "Law '{law}' was left out: it needs a metric whose range has the ends it refers to.",
        "律“{law}”未参与：它需要指标的取值范围具有其所用的端点。",
    ),
    "not_rising": (
        "{n} evaluations were left out: {axis} does not rise there.",
        "有 {n} 次评测未用：该处 {axis} 没有增加。",
    ),
    "no_value": ("'{response}' has no value along {axis}.", "沿 {axis} 没有“{response}”的值。"),
    "no_fit": (
        "No law could be fitted: the runs have too few points. Let them run longer.",
        "没有律能拟合：运行的点太少。请让其运行更久。",
    ),
    "behind": (
        "horizon = {end:g} is behind the last {axis} of '{recipe}', {last:g}; nothing is left to forecast.",
        "horizon = {end:g} 不超过“{recipe}”的最后一个 {axis}（{last:g}），没有可预测的范围。",
    ),
    # ---- target and advice
    "at_least": ("at least", "不低于"),
    "at_most": ("at most", "不高于"),
    "reach": (
        "'{metric}' is {side} {target:g} by x = {end:g} with chance {chance:.2f}.",
        "“{metric}”在 x = {end:g} 之前{side} {target:g} 的概率为 {chance:.2f}。",
    ),
    "half": (" Half of the forecast's curves are there by x = {x:.4g}.", "半数预测曲线在 x = {x:.4g} 之前到达。"),
    "not_there": (" Most of its curves do not get there by x = {x:g}.", "多数曲线在 x = {x:g} 之前未到达。"),
    "outside": (
        "The budget {end:g} lies outside the forecast, {low:g} to {high:g}; forecast that far.",
        "预算 {end:g} 不在预测范围 {low:g} 至 {high:g} 之内；请预测到该处。",
    ),
    "stop_now": ("Stop now", "现在停止"),
    "go_on_to": ("Go on to x = {x:g}", "继续到 x = {x:g}"),
    "stopping": ("stopping now", "现在停止"),
    "going_on": ("going on to x = {x:g}", "继续到 x = {x:g}"),
    "regret": (
        "{what}: expected regret {own:.3g}, against {rival:.3g} for {other}.",
        "{what}：期望遗憾为 {own:.3g}，而{other}为 {rival:.3g}。",
    ),
    "equal": (" The two are as good as equal.", "二者几乎没有差别。"),
    "small_gain": (
        "by x = {x:g} the gain is below {minimal:g} with chance {chance:.2f}",
        "到 x = {x:g} 时增益小于 {minimal:g} 的概率为 {chance:.2f}",
    ),
    "stop_small": ("Stop now: {text}, and no other x does better.", "现在停止：{text}，其他 x 也不更好。"),
    "go_on_small": ("Go on: {text}.", "继续：{text}。"),
    "open_small": ("It cannot be said yet: {text}.", "尚不能判断：{text}。"),
    # ---- sizes
    "size_fitted": (
        "Points of size {size:g} were used, so this is a fit, not a prediction.",
        "用到了规模 {size:g} 的点，故此为拟合，并非预测。",
    ),
    "size_predicted": (
        "Nothing of size {size:g} was used; slope and level come from sizes {sizes}.",
        "未用规模 {size:g} 的任何数据；斜率与水平来自规模 {sizes}。",
    ),
    "few_sizes": (
        "A family needs at least {least} positive sizes; there are {sizes}.",
        "一个系列至少需要 {least} 个正的规模；现有 {sizes}。",
    ),
    "no_size_law": (
        "None of the laws of size {laws} could be fitted; add 'constant'.",
        "规模律 {laws} 都不能拟合；请加入“constant”。",
    ),
    "bad_size": ("Size {size:g} and all x must be positive.", "规模 {size:g} 与所有 x 必须为正。"),
    # ---- what a claim cannot be judged for
    "and_more": ("{names} and {n} more", "{names} 等另 {n} 个"),
    "no_model_size": (
        "the size of the model is in no log ({names}); give sizes={hint}, in 1e9 parameters",
        "日志中没有模型规模（{names}）；请给出 sizes={hint}，以 1e9 参数为单位",
    ),
    "no_flops": ("a run has no cumulative compute (flops_cum)", "有运行没有累计计算量（flops_cum）"),
    "no_loss": (
        "the range of '{name}' is not known, so it is no share of right answers; give range=[low, high]",
        "“{name}”的取值范围未知，不能当作正确率；请给出 range=[low, high]",
    ),
    "no_entropy": (
        "the entropy of the policy (entropy_token) is not logged by {names}",
        "{names} 没有记录策略的熵（entropy_token）",
    ),
    "no_reward": ("no reward is logged beside the entropy", "没有与熵一同记录的奖励"),
    "no_before": (
        "no evaluation before training (at step 0) is logged by every run",
        "并非每次运行都记录了训练前（第 0 步）的评测",
    ),
    "no_samples": (
        "the questions (or answers) of a step are in no log; give batch=, the questions a step",
        "日志中没有每步的题数（或回答数）；请给出 batch=，即每步题数",
    ),
    "no_group": (
        "the rollout group sizes are in no log; give groups={{pattern: answers a question}}",
        "日志中没有每题的回答数；请给出 groups={{模式: 每题回答数}}",
    ),
    "no_reuse": (
        "how often each question is used is in no log; give reuse={{pattern: times}}",
        "日志中没有每题的使用次数；请给出 reuse={{模式: 次数}}",
    ),
    "not_converged": (
        "no log says that training has converged; give converged=true if all runs have",
        "没有日志说明训练已收敛；若都已收敛，请给出 converged=true",
    ),
    "no_questions": (
        "the size of the evaluation set is in no log; give questions=, for standard errors",
        "日志中没有评测集的题数；请给出 questions=，用于计算标准误",
    ),
    "other_runs": (
        "it speaks of runs with {where}, and these are not",
        "它讲的是 {where} 的运行，而这些运行不是",
    ),
    "other_family": (
        "it speaks of runs with {where}, and these are not; give families={{pattern: name}} if yours are",
        "它讲的是 {where} 的运行，而这些运行不是；若你的运行是，请给出 families={{模式: 名称}}",
    ),
    "no_counts": (
        "it needs answers per problem (rollout dumps, completions or a table of counts), and none is among the logs",
        "它需要每题的作答结果（采样记录、补全或计数表），而日志中没有",
    ),
    "no_logs": ("it needs training logs, and none is among the logs", "它需要训练日志，而所给文件中没有"),
    "model_left_out": ("'{model}' was left out: {error}", "“{model}”未参与：{error}"),
    "then": ("; ", "；"),
    "stop": ("{text}.", "{text}。"),
    # ---- derived axes
    "not_derived": ("{name} is not derived: {error}", "未推导 {name}：{error}"),
    "no_part": ("the log has no {name} ({meaning}).", "日志中没有 {name}（{meaning}）。"),
    "no_samples_step": (
        "the log has no samples_step (answers of the step); give samples=, the answers a step.",
        "日志中没有 samples_step（每步的回答数）；请给出 samples=（每步回答数）。",
    ),
    "no_parameters": (
        "give parameters=, the number N of the policy's parameters.",
        "请给出 parameters=（策略的参数量 N）。",
    ),
    "part_missing": (
        "{name} is missing {where}; fill=True lets such steps take the mean of the others.",
        "{name} 缺失（{where}）；fill=True 让这些步取其余步的均值。",
    ),
    # ---- answers per problem
    "step_last": (
        "Answers are there at {n} steps, {first:g} to {last:g}; those of the last one are used (step=… takes another).",
        "共有 {n} 步的作答结果（{first:g} 至 {last:g}）；这里用最后一步（用 step=… 另选）。",
    ),
    "step_asked": (
        "Answers are there at {n} steps, {first:g} to {last:g}; those of step {step:g} are used, as asked.",
        "共有 {n} 步的作答结果（{first:g} 至 {last:g}）；按设置用第 {step:g} 步。",
    ),
    "fewest": (
        "k goes to {least}, the fewest answers of a problem; others have up to {most}.",
        "k 最大为 {least}，即单题最少的回答数；其他题最多 {most} 个。",
    ),
    "one_problem": ("There is one problem, so there is no interval.", "只有一道题，故没有区间。"),
}  # fmt: skip
