"""The transformer: exact counts, gradients against differences, positions, causality, mixtures, files, bad sizes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from rlaws.errors import InputError
from toymodels import layers
from toymodels.config import Config
from toymodels.layers import FeedForward, Maker, Mixture, attend, rms_norm, rotary_table, rotate
from toymodels.model import Critic, Decoder, load, save
from toymodels.sampling import score

torch.set_num_threads(1)
SMALL = Config(vocab=11, context=16, width=16, layers=2, heads=4, value_head=True, dtype="float64")
CONFIGS = {
    "relu2": SMALL,
    "swiglu": replace(SMALL, ffn="swiglu", kv_heads=2, tied=False),
    "mixture": replace(SMALL, ffn="swiglu", experts=3, top_k=2, ffn_width=8),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> Config:
    return CONFIGS[request.param]


def some_tokens(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(11, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_parameters_are_counted_exactly(config: Config) -> None:
    for critic, kind in ((False, Decoder), (True, Critic)):
        model = kind(config, 0)
        assert sum(p.numel() for p in model.parameters()) == config.parameters(critic=critic).total
    idle = config.layers * (config.experts - config.top_k) * 3 * config.width * config.hidden
    assert config.parameters().total - config.parameters().active == idle


def test_shapes_and_seed(config: Config) -> None:
    state = torch.get_rng_state()
    model, same, other = Decoder(config, 3), Decoder(config, 3), Decoder(config, 4)
    x = some_tokens(3, 9)
    hidden = model.states(x)
    assert hidden.shape == (3, 9, 16)
    assert model.values(hidden).shape == Critic(config, 0)(x).shape == (3, 9)
    assert model(x).shape == (3, 9, 11)
    assert torch.equal(model(x), same(x))
    assert not torch.allclose(model(x), other(x))
    assert torch.equal(state, torch.get_rng_state()), "the global generator was used"


def test_tied_embeddings_share_storage() -> None:
    tied, untied = Decoder(SMALL, 0), Decoder(replace(SMALL, tied=False), 0)
    hidden = tied.states(some_tokens(1, 4))
    assert torch.equal(tied.logits(hidden), hidden @ tied.embedding.T)
    assert tied.unembedding is None
    assert untied.unembedding.data_ptr() != untied.embedding.data_ptr()
    with torch.no_grad():
        tied.embedding.mul_(2)
    assert torch.equal(tied.logits(hidden), hidden @ tied.embedding.T)


def unit_directions(parameters: list[torch.nn.Parameter], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    raw = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    length = torch.stack([d.square().sum() for d in raw]).sum().sqrt()
    return [d / length for d in raw]


def test_gradient_of_a_policy_loss_equals_differences(config: Config) -> None:
    """Along random unit directions, in float64; the error of central differences falls as the square of the step."""
    model, tokens = Decoder(config, 1), some_tokens(4, 8, 2)
    with torch.no_grad():  # away from the start, where gates and logits are nearly linear
        for p in model.parameters():
            p.mul_(1.5)
    reference = model(tokens).detach()
    parameters = list(model.parameters())
    start = [p.detach().clone() for p in parameters]
    grads = torch.autograd.grad(policy_loss(model, tokens, reference), parameters)
    for seed in range(3):
        directions = unit_directions(parameters, seed)

        def loss_at(step: float, directions: list[torch.Tensor] = directions) -> float:
            with torch.no_grad():
                for p, s, d in zip(parameters, start, directions, strict=True):
                    p.copy_(s + step * d)
                return float(policy_loss(model, tokens, reference))

        slope = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True))
        off = [abs((loss_at(h) - loss_at(-h)) / (2 * h) - slope) for h in (1e-3, 1e-5)]
        assert off[1] < 2e-8 * max(1.0, abs(slope))
        assert off[1] < 1e-2 * off[0], "the error did not fall with the step"


def policy_loss(model: Decoder, tokens: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Clipped policy loss against the fixed logits ``reference``, entropy bonus, value loss, load balance."""
    routes: list[torch.Tensor] = []
    hidden = model.states(tokens, routes)
    table, old = (x.log_softmax(-1)[:, :-1] for x in (model.logits(hidden), reference))
    new_p, old_p = (x.gather(-1, tokens[:, 1:, None]).squeeze(-1) for x in (table, old))
    advantage = torch.linspace(-1.0, 2.0, new_p.numel(), dtype=new_p.dtype).view_as(new_p)
    ratio = (new_p - old_p - 0.03).exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    entropy = -(table.exp() * table).sum(-1).mean()
    return -gain - 0.01 * entropy + model.values(hidden).square().mean() + 0.1 * sum(routes)


def test_rms_norm_equals_torch_with_its_gradient() -> None:
    x = torch.randn(5, 7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.allclose(rms_norm(x), F.rms_norm(x, (12,), eps=layers.EPS), rtol=1e-12)
    assert torch.autograd.gradcheck(rms_norm, (x,))
    zero = torch.zeros(1, 12, requires_grad=True)
    rms_norm(zero).sum().backward()
    assert bool(zero.grad.isfinite().all())


def test_rotary_scores_depend_on_differences_of_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 8, dtype=torch.float64, generator=generator)
    turns = rotary_table(32, 8, 100.0, True, torch.device("cpu"))
    turned_q, turned_k = (rotate(x.expand(32, 1, 8), turns)[:, 0] for x in (q, k))
    scores = turned_q @ turned_k.T
    for lag in range(-8, 9):
        diagonal = scores.diagonal(lag)
        assert torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-12)
    assert torch.allclose(rotate(q, turns[5]).norm(), q.norm())
    assert scores.diagonal(3)[0] != pytest.approx(float(scores.diagonal(4)[0]), abs=1e-3)
    angle = 5 * 100.0 ** (-2 / 8)  # the second pair at position 5, written from the definition
    a, b = q[0, 2], q[0, 3]
    turned = a * torch.cos(torch.tensor(angle)) - b * torch.sin(torch.tensor(angle))
    assert float(rotate(q, turns[5])[0, 2]) == pytest.approx(float(turned), rel=1e-6)


def test_a_shift_of_all_positions_changes_nothing(config: Config) -> None:
    """Feeding a row at later positions, without what came before, gives the same: only differences count."""
    model, x = Decoder(config, 0), some_tokens(1, 6)
    cache, late = model.empty_cache(1, 6), model.turns().roll(-7, 0)
    with torch.no_grad():
        plain = model(x)
        stream = F.embedding(x, model.embedding)
        for block, part in zip(model.blocks, cache, strict=True):
            stream = block(stream, late[:6], None, part)
        assert torch.allclose(model.logits(rms_norm(stream)), plain, atol=1e-10)


def test_future_tokens_change_nothing(config: Config) -> None:
    model, x = Decoder(config, 0), some_tokens(2, 12)
    y = x.clone()
    y[:, 7:] = (y[:, 7:] + 3) % 11
    a, b = model(x), model(y)
    assert torch.allclose(a[:, :7], b[:, :7], atol=1e-12)
    assert not torch.allclose(a[:, 7:], b[:, 7:], atol=1e-3)
    assert torch.allclose(Critic(config, 0)(x)[:, :7], Critic(config, 0)(y)[:, :7], atol=1e-12)


@pytest.mark.parametrize("kv", [1, 2, 4])
def test_short_rows_attend_as_the_fused_kernel(kv: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(3, 9, 4, 8, generator=generator)
    k, v = torch.randn(2, 3, 9, kv, 8, generator=generator)
    short = attend(q, k, v)
    monkeypatch.setattr(layers, "SHORT", 0)
    assert torch.allclose(attend(q, k, v), short, atol=1e-6)


def test_a_mixture_with_all_experts_is_their_weighted_sum() -> None:
    config = replace(CONFIGS["mixture"], top_k=3)
    mixture = Mixture(config, Maker(config, 0))
    x = torch.randn(2, 5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = (x @ mixture.router.T).softmax(-1)
    expected = sum(weights[..., e, None] * expert(x) for e, expert in enumerate(mixture.experts))
    assert torch.allclose(mixture(x), expected, atol=1e-12)


def test_a_token_goes_to_its_best_experts_only() -> None:
    config = replace(CONFIGS["mixture"], top_k=1)
    mixture = Mixture(config, Maker(config, 0))
    x = torch.randn(40, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    best = (x @ mixture.router.T).argmax(-1)
    assert len(best.unique()) > 1
    for e, expert in enumerate(mixture.experts):
        assert torch.allclose(mixture(x)[best == e], expert(x[best == e]), atol=1e-12)


def test_load_balance_is_one_for_even_and_the_number_of_experts_for_one_sided_routing() -> None:
    config = replace(CONFIGS["mixture"], top_k=1)
    mixture = Mixture(config, Maker(config, 0))
    x = torch.eye(16, dtype=torch.float64)[:3]  # token e scores 1 with expert e
    with torch.no_grad():
        mixture.router.zero_()
        mixture.router[:, :3] = torch.eye(3)
        even: list[torch.Tensor] = []
        mixture(x, even)
        mixture.router.zero_()
        mixture.router[1, :] = 60.0
        one: list[torch.Tensor] = []
        mixture(x, one)
    assert float(even[0]) == pytest.approx(1.0)
    assert float(one[0]) == pytest.approx(3.0)


def test_idle_experts_get_gradient_zero_not_none() -> None:
    model = Decoder(replace(CONFIGS["mixture"], experts=3, top_k=1), 0)
    score(model, torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, dtype=torch.int64)).sum().backward()
    grads = [p.grad for p in model.parameters() if p is not model.value]
    assert all(g is not None and bool(g.isfinite().all()) for g in grads)


def test_files_keep_every_number_and_run_nothing(config: Config, tmp_path: Path) -> None:
    for kind in (Decoder, Critic):
        model = kind(config, 9)
        save(model, tmp_path / "model.pt")
        back = load(tmp_path / "model.pt")
        assert type(back) is kind
        assert back.config == config
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), back.parameters(), strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="holds no model of this version"):
        load(tmp_path / "other.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch looks there while it compiles
def test_a_copy_is_independent_also_when_compiled() -> None:
    model, x = Decoder(replace(SMALL, compile="aot_eager"), 0), some_tokens(2, 5)
    plain = Decoder(SMALL, 0)
    assert torch.allclose(model(x), plain(x), atol=1e-12)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model.blocks[0].out.mul_(3.0)
    assert torch.allclose(twin(x), plain(x), atol=1e-12)
    assert not torch.allclose(model(x), plain(x), atol=1e-6)


def test_bfloat16_and_autocast_stay_near_float32() -> None:
    """bfloat16 keeps 8 bits: logits of size 1 through 2 layers agree to a few hundredths."""
    single, x = replace(SMALL, dtype="float32"), some_tokens(4, 16)
    exact = Decoder(single, 0)(x)
    half = Decoder(replace(single, dtype="bfloat16"), 0)(x)
    assert half.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        cast = Decoder(single, 0)(x)
    for rough in (half, cast):
        off = float((rough.float() - exact).detach().abs().max() / exact.detach().std())
        assert 0 < off < 0.1


def test_feed_forward_kinds_follow_their_formulas() -> None:
    x = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    relu2 = FeedForward(SMALL, Maker(SMALL, 0))
    assert torch.allclose(relu2(x), torch.clamp(x @ relu2.up.T, min=0) ** 2 @ relu2.down.T)
    config = CONFIGS["swiglu"]
    swiglu = FeedForward(config, Maker(config, 0))
    gate, up = (x @ swiglu.up.T).split(config.hidden, dim=-1)
    assert torch.allclose(swiglu(x), (gate * torch.sigmoid(gate) * up) @ swiglu.down.T)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 18}, "width = 18 does not divide into 4 heads.*multiple of 8"),
        ({"layers": 0}, "layers = 0; give at least 1"),
        ({"kv_heads": 3}, "kv_heads = 3 does not divide heads = 4"),
        ({"ffn": "swigul"}, "Did you mean 'swiglu'"),
        ({"dtype": "float8"}, "dtype = 'float8' is not known"),
        ({"experts": 4}, "experts = 4, top_k = 0: a mixture needs 1 <= top_k <= experts"),
        ({"experts": 4, "top_k": 5}, "a mixture needs 1 <= top_k <= experts"),
        ({"rope_theta": 1.0}, "a base above 1"),
    ],
)
def test_impossible_sizes_are_refused_with_a_remedy(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(SMALL, **change)


def test_too_long_rows_and_missing_heads_are_refused() -> None:
    with pytest.raises(InputError, match="Rows of 17 tokens do not fit into the context of 16"):
        Decoder(SMALL, 0)(some_tokens(1, 17))
    model = Decoder(replace(SMALL, value_head=False), 0)
    with pytest.raises(InputError, match="no value head"):
        model.values(model.states(some_tokens(1, 3)))
