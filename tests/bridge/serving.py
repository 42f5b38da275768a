"""An OpenAI-compatible server over a tiny model, on a loopback port, with the faults that real ones have."""

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from llm_bridge.backends.base import Sampling
from llm_bridge.backends.decoding import decode, uniforms
from llm_bridge.models import Loaded


@dataclass
class Faults:
    busy: int = 0  # so many requests are answered with 429 first
    always: int = 0  # status of every answer
    garbage: str = ""  # body of every answer
    silent: bool = False
    ignores: frozenset[str] = frozenset()  # settings that have no effect
    refuses: frozenset[str] = frozenset()  # settings, or "ids", that give a 400
    keeps_stop: bool = False
    scaled: bool = False  # log-probabilities are those of the sampling distribution
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    now: int = 0
    most: int = 0  # requests in flight at once


def app_of(loaded: Loaded, faults: Faults) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def misbehave(request: Request, call_next):
        faults.keys.add(request.headers.get("authorization", ""))
        faults.now += 1
        faults.most = max(faults.most, faults.now)
        try:
            if faults.silent:
                await asyncio.sleep(3)
            if faults.busy:
                faults.busy -= 1
                return JSONResponse({"error": {"message": "busy"}}, 429, {"retry-after": "0"})
            if faults.always:
                said = f"refused {request.headers.get('authorization')}"
                return JSONResponse({"error": {"message": said}}, faults.always)
            if faults.garbage:
                return PlainTextResponse(faults.garbage, media_type="application/json")
            return await call_next(request)
        finally:
            faults.now -= 1

    @app.get("/v1/models")
    def models():
        return {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "tests"}]}

    @app.post("/v1/chat/completions")
    def chat(body: dict[str, Any]):
        prompt = loaded.prompt(body["messages"][-1]["content"], "chat")
        return answer(body, prompt, lambda c: {"message": {"role": "assistant", "content": c}}, chat_logprobs)

    @app.post("/v1/completions")
    def complete(body: dict[str, Any]):
        if isinstance(body["prompt"], list) and "ids" in faults.refuses:
            return JSONResponse({"error": {"message": "a prompt is a text"}}, 400)
        ids = body["prompt"] if isinstance(body["prompt"], list) else loaded.tokenizer(body["prompt"])["input_ids"]
        if body.get("echo"):
            return echo(ids)
        return answer(body, ids, lambda c: {"text": c}, text_logprobs)

    def answer(body, prompt, shape, told):
        faults.asked.append(body)
        wrong = faults.refuses & set(body)
        if wrong:
            return JSONResponse({"error": {"message": f"{sorted(wrong)} is not supported"}}, 400)
        body = {k: v for k, v in body.items() if k not in faults.ignores}
        n, most, temperature = body.get("n", 1), body["max_tokens"], body.get("temperature", 0.0)
        stop = tuple(body.get("stop", ()))
        u = torch.as_tensor(uniforms(body.get("seed", time.time_ns()), range(n), most))
        sampling, limits = Sampling(temperature, most, body.get("top_p", 1.0)), torch.full((n,), most)
        ends = torch.tensor(sorted(loaded.ends))

        def ended(tokens, new):
            texts = [loaded.tokenizer.decode(row, skip_special_tokens=True) for row in tokens.tolist()]
            return torch.isin(new, ends) | torch.tensor([any(s in t for s in stop) for t in texts])

        out = decode(loaded.model, [prompt], torch.zeros(n, dtype=torch.long), u, limits, sampling, ended)
        rows = [row[:k] for row, k in zip(out.tokens.tolist(), out.lengths.tolist(), strict=True)]
        choices = []
        for i, row in enumerate(rows):
            text = loaded.tokenizer.decode(row, skip_special_tokens=True)
            if not faults.keeps_stop:
                text = text[: min([text.find(s) for s in stop if s in text], default=len(text))]
            own = {"index": i, "finish_reason": "stop" if out.finished[i] else "length", **shape(text)}
            if body.get("logprobs"):
                own["logprobs"] = told(row, *numbers(prompt, row, temperature if faults.scaled else 0.0))
            choices.append(own)
        used = sum(map(len, rows))
        usage = {"prompt_tokens": len(prompt), "completion_tokens": used, "total_tokens": used + len(prompt)}
        return {"id": "1", "object": "x", "created": 0, "model": "tiny", "choices": choices, "usage": usage}

    def numbers(prompt, row, temperature):
        """Log-probabilities of the tokens of a row, and of the likeliest tokens in their places."""
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([prompt + row])).logits[0, len(prompt) - 1 : -1]
        logp = (logits / (temperature or 1.0)).log_softmax(-1)
        return logp.gather(-1, torch.tensor(row)[:, None])[:, 0].tolist(), logp.amax(-1).tolist()

    def text_logprobs(row, own, top):
        tokens = [loaded.tokenizer.decode([i]) for i in row]
        return {"tokens": tokens, "token_logprobs": own, "top_logprobs": [{"x": v} for v in top], "text_offset": []}

    def chat_logprobs(row, own, top):
        tokens = [loaded.tokenizer.decode([i]) for i in row]
        return {
            "content": [
                {"token": t, "logprob": a, "top_logprobs": [{"token": "x", "logprob": b}]}
                for t, a, b in zip(tokens, own, top, strict=True)
            ]
        }

    def echo(ids):
        if "echo" in faults.ignores:
            return answer({"max_tokens": 1, "logprobs": 1}, ids, lambda c: {"text": c}, text_logprobs)
        own, top = numbers(ids[:1], ids[1:], 0.0)
        told = text_logprobs(ids, [None, *own], [0.0, *top])
        told["text_offset"] = [sum(map(len, told["tokens"][:i])) for i in range(len(ids))]
        choice = {"index": 0, "finish_reason": "length", "text": "".join(told["tokens"]), "logprobs": told}
        return {"id": "1", "object": "x", "created": 0, "model": "tiny", "choices": [choice]}

    return app


@contextlib.contextmanager
def serve(loaded: Loaded, faults: Faults):
    """Serve on a free loopback port; yields the endpoint's address."""
    config = uvicorn.Config(app_of(loaded, faults), port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    (listening,) = server.servers[0].sockets
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(timeout=10)
