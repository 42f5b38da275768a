"""Every sentence of the section "Your runs" that does not come from the data, in English and Chinese."""

from __future__ import annotations

from rlaws.report.words import Text

_ROWS: dict[str, tuple[str, str]] = {
    "own": ("Your runs", "你的运行"),
    "own_about": (
        "Training logs of your own, as they were understood, with forecasts of where they go. A forecast is a mixture "
        "of laws weighted by how well each predicted later points from earlier ones; its bands hold only as long as "
        "the recipe stays as it is.",
        "你自己的训练日志：如何被识别，以及对其走势的预测。预测是多个律的混合，权重取决于各律由早期点预测后期点的表现；"
        "区间只在训练配方不变时成立。",
    ),
    "answers_about": (
        "Answers per problem of your own, with how often a right one is among k. Nothing is forecast from them.",
        "你自己的逐题作答，以及 k 个回答中出现正确回答的频率。不由此作预测。",
    ),
    "claims_judged": (
        "Claims that were judged on these logs stand in the table of verdicts below, rung logs, studies own/…",
        "用这些日志判定的论断见下方结论表中 logs 一级的 own/… 研究。",
    ),
    "imported": ("What was read", "读到了什么"),
    "run": ("run", "运行"),
    "recipe": ("recipe", "配方"),
    "dialect": ("format", "格式"),
    "steps": ("steps", "步数"),
    "parameters": ("parameters", "参数量"),
    "columns": ("columns", "列"),
    "unknown": ("not understood", "未能识别"),
    "keys": ("Keys of the log", "日志的键"),
    "key": ("key", "键"),
    "column": ("column", "列"),
    "unit": ("unit", "单位"),
    "meaning": ("meaning", "含义"),
    "coverage": ("share of steps", "步占比"),
    "nonfinite": ("not finite", "非有限值"),
    "derived": ("Derived axes", "推导出的坐标轴"),
    "derived_row": ("{name} [{unit}], {origin}, from {source}", "{name} [{unit}]，{origin}，来自 {source}"),
    "logged": ("logged", "已记录"),
    "derived_word": ("derived", "推导"),
    "assumed": ("assumed", "假定"),
    "warnings": ("What to know of it", "须知"),
    "segments": (
        "It was resumed: {n} stretches ({list}); steps that were run again count once, the later one.",
        "训练曾中断并续训：共 {n} 段（{list}）；重跑的步只计后一次。",
    ),
    "duplicates": (
        "{n} steps were logged more than once, {differing} of them with other values; the last one counts.",
        "有 {n} 步被重复记录，其中 {differing} 步数值不同；以最后一次为准。",
    ),
    "gaps": ("{n} gaps: no step between {list}.", "{n} 处缺失：{list} 之间没有记录。"),
    "forecasts": ("Forecasts", "预测"),
    "chosen": (
        "Response unless one is asked for: {rule} Others: {others}.",
        "未指定响应变量时：{rule}其他可选：{others}。",
    ),
    "none": ("none", "无"),
    "diagnosis": ("{name}: {text}", "{name}：{text}"),
    "answers": ("Answers per problem", "逐题作答"),
    "answers_caption": (
        "Mean over problems of the unbiased estimate of pass@k; in brackets the {level} interval of resampled "
        "problems.",
        "各题 pass@k 无偏估计的均值；方括号内为对题目重采样得到的 {level} 区间。",
    ),
    "answers_more": ("{n} more models are in the table only.", "另有 {n} 个模型仅列于表中。"),
    "answers_left_out": ("Answers that were left out: {reason}", "未采用的作答：{reason}"),
    "model": ("model", "模型"),
    "step": ("step", "步"),
    "problems": ("problems", "题数"),
    "answers_each": ("answers each", "每题回答数"),
    "axis": ("Axis {name}, {origin}: {rule}", "横轴 {name}，{origin}：{rule}"),
    "at_end": (
        "At {x}: {y}; {level} band of the mean [{low}, {high}], of {points} [{new_low}, {new_high}].",
        "在 {x} 处：{y}；均值的 {level} 区间 [{low}, {high}]，{points}的区间 [{new_low}, {new_high}]。",
    ),
    "this_run": ("this run's next points", "本次运行后续点"),
    "new_run": ("one new run", "一次新运行"),
    "refusal": ("No forecast", "不作预测"),
    "bend": ("Turns back", "回落"),
    "target": ("Target", "目标"),
    "target_words": (
        "Chance {chance} that {response} reaches {value} by {by}; half of the curves are there by {median}.",
        "{response} 在 {by} 之前达到 {value} 的概率为 {chance}；半数曲线在 {median} 之前到达。",
    ),
    "never": ("no x of the forecast", "（预测范围内未到达）"),
    "advice": ("Stop or go on", "停止还是继续"),
    "stop": ("Stop now.", "现在停止。"),
    "go_on": ("Go on to {x}.", "继续到 {x}。"),
    "go_on_plain": ("Go on.", "继续。"),
    "equal": ("Stopping and going on are as good as equal.", "停止与继续几乎没有差别。"),
    "open": ("It cannot be said yet.", "尚不能判断。"),
    "options": ("The options", "各选项"),
    "option": ("until", "到"),
    "now": ("now", "现在"),
    "gain": ("gain, 90 %", "增益，90%"),
    "regret": ("expected regret, 90 %", "期望遗憾，90%"),
    "small": ("chance of a smaller gain than asked", "增益小于所设下限的概率"),
    "weights": ("Weights of the laws", "各律的权重"),
    "weights_caption": (
        "From {n} earlier origins of the same runs; the score is the mean log density given to later points.",
        "由同一批运行的 {n} 个较早起点得出；得分为对后续点给出的平均对数密度。",
    ),
    "weights_equal": (
        "There are too few points for an earlier origin: all laws weigh the same.",
        "点太少，没有更早的起点：各律权重相同。",
    ),
    "law": ("law", "律"),
    "weight": ("weight", "权重"),
    "score": ("held-out score", "留出得分"),
    "scoring": ("How such forecasts did on these runs", "此类预测在这些运行上的表现"),
    "scoring_caption": (
        "The rest of each run forecast from its first points, by the mixture and by two naive forecasts. Covered: "
        "share of the later points inside the {level} band. CRPS and interval score: smaller is better, in the unit of "
        "the response.",
        "用每次运行的前段预测其余部分，混合预测与两种朴素预测对比。覆盖率：后续点落入 {level} 区间的比例。"
        "CRPS 与区间得分越小越好，单位同响应变量。",
    ),
    "seen": ("seen", "已见"),
    "method": ("forecast", "预测方法"),
    "mixture": ("mixture", "混合"),
    "last_value": ("last value", "最后值"),
    "straight_line": ("straight line in log x", "对数 x 上的直线"),
    "covered": ("covered", "覆盖率"),
    "error": ("mean error", "平均误差"),
    "crps": ("CRPS", "CRPS"),
    "interval_score": ("interval score", "区间得分"),
    "links": ("Under other links", "其他链接函数下"),
    "links_caption": (
        "The same forecast with the metric on other scales; they disagree by {n} half-widths of the band.",
        "同一预测，指标换用其他尺度；彼此相差 {n} 个区间半宽。",
    ),
    "family": ("How the curves go with size", "曲线随规模的变化"),
    "family_laws": (
        "The law {law} at every size, x in units of {x}. Weights of the laws of size, by leaving out larger ones: "
        "{laws}.",
        "每个规模拟合律 {law}，x 以 {x} 为单位。规模律的权重（依次留出较大规模）：{laws}。",
    ),
    "family_held": (
        "The largest size, {size} × 1e9, predicted from the smaller ones alone: mean relative error {error}; {covered} "
        "of its {n} points inside the band of one run.",
        "仅用较小规模预测最大规模 {size} × 1e9：平均相对误差 {error}；{n} 个点中 {covered} 落在单次运行的区间内。",
    ),
    "family_predicted": (
        "{size} × 1e9 ({label}) at x = {x}: {y}; band of the mean [{low}, {high}], of one new run "
        "[{new_low}, {new_high}].",
        "{size} × 1e9（{label}）在 x = {x} 处：{y}；均值区间 [{low}, {high}]，一次新运行区间 [{new_low}, {new_high}]。",
    ),
    "label_predicted": ("predicted", "预测"),
    "label_fitted": ("fitted to its own points", "已用其自身数据拟合"),
    "not_judged": ("Claims that these logs cannot judge", "这些日志无法判定的论断"),
    "reason": ("what is missing", "缺少什么"),
    "claim": ("claim", "论断"),
    "reading": ("reading", "解读"),
    "about_fit": ("How this fit was made", "拟合信息"),
    "hash": ("hash", "哈希"),
    "files": ("files", "文件"),
    "settings": ("settings", "设置"),
    "mapping": ("mapping file", "映射文件"),
    "code": ("code", "代码"),
    "points": ("evaluations of {n} run(s)", "{n} 次运行的评测点"),
    "mean_line": ("forecast: median of the mixture", "预测：混合的中位数"),
    "mean_band": ("{level}: mean", "{level}：均值"),
    "new_band": ("{level}: {points}", "{level}：{points}"),
    "data_range": ("range of the data", "数据范围"),
    "beyond": ("beyond the data", "数据之外"),
    "naive": ("naive: {name}", "朴素预测：{name}"),
    "target_line": ("target {value}", "目标 {value}"),
    "more": ("{n} more forecasts are in fit.json.", "另有 {n} 个预测见 fit.json。"),
}
OWN: dict[str, Text] = {key: {"en": en, "zh": zh} for key, (en, zh) in _ROWS.items()}
ORIGINS: dict[str, Text] = {"logged": OWN["logged"], "derived": OWN["derived_word"], "assumed": OWN["assumed"]}
