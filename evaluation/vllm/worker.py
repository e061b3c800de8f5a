"""What runs in vLLM's own environment: requests in, token ids out.

Started by file path, so that this folder alone is on the import path; imports nothing but the
standard library and vllm. Prompts come as token ids and are never tokenised again.

    ENV/bin/python evaluation/vllm/worker.py requests.jsonl outputs.jsonl --engine JSON
"""

from __future__ import annotations

import argparse
import json


def main() -> None:
    """Answer every request; the file of outputs ends with a line that says how many they are."""
    parser = argparse.ArgumentParser(description="Continue token ids with vLLM.")
    parser.add_argument("requests", help="JSON lines: id, prompt_token_ids, sampling")
    parser.add_argument("outputs", help="JSON lines: id, token_ids, finish_reason, cached_tokens")
    parser.add_argument("--engine", required=True, help="JSON object: arguments of vllm.LLM")
    options = parser.parse_args()
    with open(options.requests, encoding="utf-8") as stream:
        requests = [json.loads(line) for line in stream]

    import vllm

    engine = vllm.LLM(**json.loads(options.engine))
    outputs = engine.generate(
        [{"prompt_token_ids": request["prompt_token_ids"]} for request in requests],
        sampling_params=[vllm.SamplingParams(**request["sampling"]) for request in requests],
    )
    with open(options.outputs, "w", encoding="utf-8") as stream:
        for request, output in zip(requests, outputs, strict=True):
            if list(output.prompt_token_ids) != request["prompt_token_ids"]:
                raise SystemExit(f"request {request['id']}: vLLM read another prompt than was sent")
            (answer,) = output.outputs
            row = {
                "id": request["id"],
                "token_ids": list(answer.token_ids),
                "finish_reason": answer.finish_reason,
                "cached_tokens": getattr(output, "num_cached_tokens", None) or 0,
            }
            stream.write(json.dumps(row) + "\n")
        stream.write(json.dumps({"done": len(requests), "vllm": vllm.__version__}) + "\n")


if __name__ == "__main__":
    main()
