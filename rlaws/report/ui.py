"""Every sentence of the page that does not come from the data, in English and Chinese."""

from __future__ import annotations

from rlaws.report.words import Text

_ROWS: dict[str, tuple[str, str]] = {
    "title": ("rlaws: verdicts", "rlaws：结论"),
    "tagline": (
        "A testbed for claims about scaling reinforcement learning for reasoning models: a claim in, a verdict out.",
        "关于推理模型强化学习缩放规律的检验平台：输入一条论断，输出一个结论。",
    ),
    "notes": ("Notes", "说明"),
    "matrix": ("Verdicts", "结论一览"),
    "matrix_caption": (
        "Claims by rung: numba simulators with known truth (sim), small transformers trained on the spot (toy), real "
        "language models (llm), recorded training data (logs). Each cell gives the verdict and, for each reading of "
        "the claim, its outcome and margin.",
        "按论断与层级排列：真值已知的数值模拟器（sim）、现场训练的小型 Transformer（toy）、真实语言模型（llm）、"
        "已记录的训练数据（logs）。每格给出结论，以及论断的每种解读的结果与余量。",
    ),
    "claim": ("claim", "论断"),
    "legend": ("What the words mean", "词义"),
    "not_run": ("not run", "未运行"),
    "source": ("source", "出处"),
    "study": ("study", "研究"),
    "rung": ("rung", "层级"),
    "grid": ("grid", "网格"),
    "seed": ("seed", "种子"),
    "budget": ("budget", "预算"),
    "cost": ("cost", "开销"),
    "cells": ("cells", "单元"),
    "cells_text": ("{done} of {total} done, {failed} failed", "共 {total} 个，完成 {done} 个，失败 {failed} 个"),
    "wall": ("wall time", "用时"),
    "hashes": ("hashes", "哈希"),
    "data": ("data files", "数据文件"),
    "folder": ("run folder", "运行文件夹"),
    "host": ("host", "主机"),
    "versions": ("versions", "版本"),
    "readings": ("Readings", "解读"),
    "boundary": ("Boundary", "边界"),
    "alarm": ("Alarm", "警示"),
    "beside": ("beside the verdict, which does not rest on it", "仅作参考，结论不以此为据"),
    "beside_short": ("beside", "参考"),
    "no_verdict": ("No verdict", "没有结论"),
    "margin": ("margin", "余量"),
    "figure": ("Measurement and law", "测量与律"),
    "figure_caption": (
        "{shown} of {total} panels, chosen to show each outcome; intervals at 95 %. "
        "Claim {claim}, rung {rung}: {outcome}. Run {hash}.",
        "{total} 幅图中的 {shown} 幅，涵盖各种结果；误差线为 95% 区间。"
        "论断 {claim}，层级 {rung}：{outcome}。运行 {hash}。",
    ),
    "held_caption": (
        "The law is fitted to the shaded range and dashed beyond it; stars were held out.",
        "律只拟合阴影范围，其外为虚线；星号为留出的点。",
    ),
    "further": ("{n} further regime points", "另外 {n} 个条件点"),
    "left_out": (
        "{n} more are in the run folder (panels.json).",
        "其余 {n} 个见运行文件夹中的 panels.json。",
    ),
    "map": ("Regime map", "条件图"),
    "map_caption": (
        "Reading {reading}, {outcome}. Outcome over {axes}; below each icon the margin closest to the edge, or the "
        "count where a cell joins points of further settings. The thick line parts supported from refuted.",
        "解读 {reading}，{outcome}。结果随 {axes} 的变化；图标下为最接近边界的余量，"
        "若一格合并了其他设置的多个点则为计数。粗线分隔成立与被否定。",
    ),
    "forest": ("All regime points", "全部条件点"),
    "forest_caption": (
        "Estimate and simultaneous interval at each regime point against the predicted region (shaded). Claim {claim}, "
        "rung {rung}, run {hash}.",
        "每个条件点的估计值与同时区间，阴影为预测区域。论断 {claim}，层级 {rung}，运行 {hash}。",
    ),
    "numbers": ("Numbers of reading", "数值，解读"),
    "rows": ("{n} rows", "{n} 行"),
    "rows_cut": (
        "Shown: {shown} of {total} rows; all are in verdicts.json.",
        "显示 {total} 行中的 {shown} 行；全部见 verdicts.json。",
    ),
    "link": ("link", "链接函数"),
    "prediction": ("prediction", "预测"),
    "outcome": ("outcome", "结果"),
    "estimate": ("estimate", "估计"),
    "interval": ("interval", "区间"),
    "region": ("region", "预测区域"),
    "power": ("power", "功效"),
    "held_out": ("held out", "留出"),
    "rivals": ("rivals: held-out advantage ± SE", "对手：留出得分优势 ± 标准误"),
    "fit": ("fit", "拟合"),
    "why": ("why", "原因"),
    "predicted": ("predicted", "预测"),
    "fitted": ("fitted", "拟合"),
    "reproduce": ("Reproduce", "复现"),
    "copy": ("copy", "复制"),
    "copied": ("copied", "已复制"),
    "about": ("How this run was made", "运行信息"),
    "to_top": ("back to the verdicts", "返回结论一览"),
    "limits_title": ("Limits", "局限"),
    "limits": (
        "No simulator's verdict speaks about a 70B model: it says what a claim's own premises imply in a world whose "
        "truth is known. A verdict of the toy or llm rung holds for the models, tasks and grid that are named, no "
        "more. “Undecided” is a result: this design could not tell.",
        "模拟器的任何结论都不能推及 70B 模型：它只说明在真值已知的世界里，论断自身的前提会推出什么。toy 或 llm 层级的"
        "结论只适用于所列的模型、任务与网格。“未定”也是结果：该设计无法分辨。",
    ),
    "offline": (
        "This page is one file, loads nothing from the network, and holds its data.",
        "本页为单个文件，不访问网络，并内嵌其数据。",
    ),
}
UI: dict[str, Text] = {key: {"en": en, "zh": zh} for key, (en, zh) in _ROWS.items()}
