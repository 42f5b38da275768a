"""The canonical schema: what a column of an imported run means, whatever the trainer called it.

Three KL divergences are three columns, the task's reward is not the reward after a KL penalty, what is logged per step
is not what is cumulative, and a sum over tokens is not a mean over tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from rlaws.errors import InputError, suggest

LABELS = ("set", "metric", "k", "n")
KINDS = ("state", "per_step", "cumulative")


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the schema.

    Attributes:
        name: Its name.
        unit: Unit of its values; "1" for a pure number, "?" where the task fixes it (rewards).
        kind: "state" (a value that holds at the step), "per_step" (adds up over steps) or "cumulative" (a total since
            the start of the run).
        meaning: What it is, in English ("en") and Chinese ("zh").
        labels: Labels that tell several columns of the field apart.
        low: Least value that makes sense; one below is told, not changed.
        high: Largest such value.
    """

    name: str
    unit: str
    kind: str
    meaning: Mapping[str, str]
    labels: tuple[str, ...] = ()
    low: float = -inf
    high: float = inf


_STATE = """
step|step|||the trainer's own step
  训练器自身的步数
segment|1|||which stretch of an interrupted and resumed run the step belongs to, from 1
  该步属于中断后续训的第几段，从 1 起
wall_s|s|||wall-clock time; differences count, the origin may be the start of the run or 1970
  墙钟时间；只有差值有意义，起点为训练开始或 1970 年
reward_task|?|||mean reward of the task, before any KL penalty
  任务奖励的均值，不含 KL 惩罚
reward_train|?|||mean reward that training used, after the KL penalty
  训练所用奖励的均值，已减去 KL 惩罚
reward_std_group|?|||standard deviation of the reward within a group of answers to one question, mean over groups
  同一题一组回答内奖励的标准差，对各组取平均
reward_format|?|||mean reward for the format of the answer
  格式奖励的均值
frac_groups_zero|1|0|1|share of groups whose rewards are all equal, which have no gradient
  组内奖励全部相同（无梯度）的组的占比
frac_groups_all0|1|0|1|share of groups with no right answer
  全错的组的占比
frac_groups_all1|1|0|1|share of groups with right answers only
  全对的组的占比
correct|1|0|1|share of right answers during training
  训练中答对的占比
entropy_token|nat|0||entropy of the policy, mean over tokens
  策略熵，对词元取平均
entropy_seq|nat|0||entropy of the policy, summed over the tokens of an answer
  策略熵，对一条回答的词元求和
kl_ref|nat|||KL divergence of the policy from the reference model, mean over tokens
  策略相对参考模型的 KL，对词元取平均
kl_ref_seq|nat|||KL divergence of the policy from the reference model, summed over the tokens of an answer
  策略相对参考模型的 KL，对一条回答的词元求和
kl_old_new|nat|||KL divergence between the policy before and after the update, mean over tokens
  更新前后策略之间的 KL，对词元取平均
kl_sampler_trainer|nat|||KL divergence between the sampling engine and the trainer at equal weights, mean over tokens
  同一权重下采样引擎与训练器之间的 KL，对词元取平均
kl_penalty|?|||KL term as it enters the reward or the loss, its coefficient included
  进入奖励或损失的 KL 项，已乘系数
kl_coef|1|||coefficient of the KL term
  KL 项的系数
clip_total|1|0|1|share of tokens whose probability ratio is clipped
  概率比被裁剪的词元占比
clip_low|1|0|1|share of tokens clipped at the lower bound of the ratio
  在比值下界被裁剪的词元占比
clip_high|1|0|1|share of tokens clipped at the upper bound of the ratio
  在比值上界被裁剪的词元占比
clip_dual|1|0|1|share of tokens cut by the second bound that dual clipping has for negative advantages
  双重裁剪（负优势的第二道界）截断的词元占比
len_mean|token|0||mean length of an answer
  回答的平均长度
len_prompt|token|0||mean length of a prompt
  提示的平均长度
len_total|token|0||mean length of prompt and answer together
  提示与回答合计的平均长度
trunc_frac|1|0|1|share of answers cut at the length limit
  因长度上限被截断的回答占比
lr|1|0||learning rate of the policy
  策略的学习率
grad_norm|1|0||norm of the policy's gradient before clipping
  裁剪前策略梯度的范数
loss|1|||total loss; it starts near 0 by construction and is no measure of progress
  总损失；在同策略训练中按构造从 0 附近开始，不衡量进步
loss_policy|1|||policy loss; no measure of progress
  策略损失；不衡量进步
loss_critic|1|||loss of the critic
  价值网络的损失
explained_var|1||1|share of the returns' variance that the critic explains
  价值网络解释的回报方差占比
advantage_mean|1|||mean advantage
  优势的均值
epoch|epoch|0||passes over the training questions so far
  到目前为止对训练题的遍数
staleness|step|0||how many updates old the sampling policy is
  采样策略落后的更新次数
"""
_PER_STEP = """
seconds_step|s|0||wall-clock time of the step
  该步的墙钟时间
tokens_step|token|0||tokens of the step, prompts and answers
  该步的词元数，含提示与回答
tokens_gen_step|token|0||generated tokens of the step
  该步生成的词元数
tokens_prompt_step|token|0||prompt tokens of the step
  该步提示的词元数
samples_step|answer|0||answers of the step
  该步的回答数
prompts_step|question|0||questions of the step
  该步的题数
"""
_CUMULATIVE = """
tokens_cum|token|0||tokens so far, prompts and answers
  到目前为止的词元数，含提示与回答
samples_cum|answer|0||answers so far
  到目前为止的回答数
flops_cum|FLOP|0||arithmetic operations so far
  到目前为止的运算量
gpu_h_cum|GPU hour|0||GPU hours so far
  到目前为止的 GPU 小时
"""
_EVAL = {
    "en": "score of an evaluation: set, metric, k of pass@k, n samples a question",
    "zh": "评测得分：数据集、指标、pass@k 的 k、每题样本数 n",
}
_PASS_K = {
    "en": "share of training questions with a right answer among k",
    "zh": "训练题中 k 条回答里至少一条正确的占比",
}


def _number(text: str, blank: float) -> float:
    return float(text) if text else blank


def _parse(block: str, kind: str) -> dict[str, Field]:
    """Return the fields of a block: "name|unit|low|high|English", and the Chinese on the line below."""
    fields = {}
    lines = block.strip().splitlines()
    for line, zh in zip(lines[::2], lines[1::2], strict=True):
        name, unit, low, high, en = line.split("|")
        meaning = {"en": en, "zh": zh.strip()}
        fields[name] = Field(name, unit, kind, meaning, (), _number(low, -inf), _number(high, inf))
    return fields


FIELDS: Mapping[str, Field] = {
    **_parse(_STATE, "state"),
    "eval": Field("eval", "?", "state", _EVAL, LABELS),
    "pass_k": Field("pass_k", "1", "state", _PASS_K, ("k",), 0.0, 1.0),
    **_parse(_PER_STEP, "per_step"),
    **_parse(_CUMULATIVE, "cumulative"),
}


def column_id(field: str, labels: Mapping[str, str]) -> str:
    """Return the name of a column: the field, or ``eval[set=math,metric=mean,n=1]`` with labels in a fixed order."""
    shown = [f"{name}={labels[name]}" for name in LABELS if labels.get(name)]
    return f"{field}[{','.join(shown)}]" if shown else field


def parse_id(text: str) -> tuple[str, dict[str, str]]:
    """Return field and labels of a column's name.

    Raises:
        InputError: If the field is not in the schema, or a label is not one of the field's.
    """
    form = re.fullmatch(r"\s*([a-z_0-9]+)\s*(?:\[(.*)\])?\s*", text)
    if form is None:
        raise InputError(f"'{text}' is not a column; write a field, or eval[set=math,metric=mean,n=1].")
    field = check_field(form[1])
    pairs = [part.partition("=") for part in (form[2] or "").split(",") if part.strip()]
    labels = {name.strip(): value.strip() for name, _, value in pairs}
    check_labels(field, labels)
    return field, labels


def check_field(name: str) -> str:
    """Return the name of a field.

    Raises:
        InputError: If it is not in the schema.
    """
    if name not in FIELDS:
        raise InputError(f"'{name}' is not a field of the schema.{suggest(name, FIELDS)}")
    return name


def check_labels(field: str, labels: Mapping[str, str]) -> None:
    """Check the labels of a column.

    Raises:
        InputError: If one is not a label of the field, or a value holds a character that a column's name uses.
    """
    possible = FIELDS[field].labels
    for name, value in labels.items():
        if name not in possible:
            raise InputError(f"'{name}' is not a label of {field}.{suggest(name, possible) or ' It has none.'}")
        if re.search(r"[\[\],=]", value):
            raise InputError(f"The label {name} of {field} is '{value}'; brackets, commas and = cannot stand in it.")
