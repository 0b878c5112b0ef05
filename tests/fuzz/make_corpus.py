# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzzers: make_corpus.py FOLDER. All are invented. Needs pyarrow for `parquet`."""
import gzip
import json
import pathlib
import struct
import sys

root = pathlib.Path(sys.argv[1])


def put(name, file, data):
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / file).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


put("safetensors", "two", safetensors({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
                                       "b.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}}, bytes(32)))
put("safetensors", "scalar", safetensors({"v": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}, bytes(8)))
put("safetensors", "none", safetensors({"v": {"dtype": "F16", "shape": [0, 5], "data_offsets": [0, 0]}}, b""))
put("safetensors", "padded", safetensors(b'{"\\u0061":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}      ', b"abc"))
put("safetensors", "empty", safetensors({}, b""))

words = {chr(c): i for i, c in enumerate(range(97, 123))}
for token in ("\u0120", "\u00c3", "\u00a9", "th", "the", "\u0120the", "an", "and"):
    words[token] = len(words)
bpe = {"version": "1.0", "truncation": None, "padding": None,
       "added_tokens": [{"id": len(words), "content": "<|im_end|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
       "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": "``"}, "content": "q"}]},
       "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
           {"type": "Split", "pattern": {"Regex": " ?\\p{L}+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": False},
           {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
       "post_processor": None, "decoder": {"type": "ByteLevel"},
       "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                 "byte_fallback": False, "ignore_merges": False, "vocab": words,
                 "merges": [["t", "h"], ["th", "e"], ["\u0120", "the"], ["a", "n"], ["an", "d"]]}}
put("tokenizer", "bpe.json", json.dumps(bpe))
put("tokenizer", "bpe_old.json", json.dumps(bpe | {"model": bpe["model"] | {"merges": [" ".join(pair) for pair in bpe["model"]["merges"]]}}))
put("tokenizer", "words.json", json.dumps({"version": "1.0", "added_tokens": [], "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
                                           "post_processor": None, "decoder": None,
                                           "model": {"type": "WordLevel", "vocab": {"[unk]": 0, "the": 1, "dog": 2}, "unk_token": "[unk]"}}))

media = {"kind": "image", "id": "ab" * 32, "mime": "image/png", "width": 4, "height": 3, "source": "a.png"}
prompt = {"id": "p1", "messages": [{"role": "system", "content": [{"type": "text", "text": "S"}]},
                                   {"role": "user", "content": [{"type": "image", "image": media}, {"type": "text", "text": "What \u00e9 \\ \"it\"?\n"}]}],
          "reference": "R", "source": "s", "domain": "d", "unknown": {"a": [1.00, 1e3, None]}}
response = {"id": "r1", "text": "An answer.", "mllm": "m", "origin": "sampled", "finish_reason": "stop"}
put("jsonl", "pair", json.dumps({"id": "x", "prompt": prompt, "chosen": response, "rejected": response | {"id": "r2", "status": "refused"},
                                 "source": "s", "group": "g", "strength": 0.5, "strengths": [0.25, -1e-3], "kept": "\ud83d\ude00"}) + "\n")
put("jsonl", "prompts", json.dumps(prompt) + "\n\n" + json.dumps(prompt, ensure_ascii=False) + "\r\n")
put("jsonl", "images", json.dumps({"id": "i", "text": "t", "better": media, "worse": media | {"id": "", "mime": ""}, "source": "s"}) + "\n")
put("jsonl", "odd", '{"id":"\\ud800","n":123456789012345678901234567890,"messages":[],"id":"twice"}\n[]\n"text"\n{"prompt":null}\n')

put("toml", "row.toml", '# a row\nextends = "parent.toml"\n[experiment]\nabout = "x ${HOME}"\nseed = 1_000\n\n[stages.distil]\nlimit = 200\n'
    'pool = ["a", \'b\', """c\nd"""]\nratio = 1.5e-3\nwhen = 1979-05-27T07:32:00Z\n\n[[rows]]\nname = "one"\n[[rows]]\nname.deep."quoted key" = true\n')
put("toml", "value", '{ a = [1, 2, { b = "c" }], d = inf, e = 0xff }\n')
put("toml", "setting", '"text with \\u00e9 and \\"quotes\\""\n')

report = {"reference_answer": "a red ring", "weights": {"accuracy": 0.75, "safety": 0.25},
          "responses": [{"id": 1, "analysis": {"accuracy": "fine"}, "scores": {"accuracy": 8, "safety": 4}, "overall": 7.0},
                        {"id": 2, "analysis": {}, "scores": {"accuracy": "6/10", "safety": 10}, "overall": 9.5}]}
put("judge", "plain", json.dumps(report))
put("judge", "fenced", "Let me think. {not it}\n```json\n" + json.dumps(report, indent=2) + "\n```\nThat is all.")
put("judge", "sloppy", "{'weights': {accuracy: 75%, 'safety': 25,}, // note\n \"responses\": [{\"id\": 1, \"scores\": {\"Accuracy\": 8, \"1. safety\": \u201c9\u201d}},]}")
put("judge", "keyed", json.dumps({"responses": {"1": report["responses"][0], "2": report["responses"][1]}, "better": 2}))
put("judge", "refused", "I'm sorry, but I can't help with that.")
put("judge", "cut", json.dumps(report)[:150])

put("http", "chat", json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
                               "message": {"role": "assistant", "content": "four", "refusal": None}}],
                               "usage": {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}}))
put("http", "messages", json.dumps({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "four"}], "stop_reason": "end_turn",
                                   "usage": {"input_tokens": 10, "output_tokens": 3}}))
put("http", "error", json.dumps({"error": {"message": "Rate limit reached per day", "type": "requests", "code": "rate_limit_exceeded", "param": None}}))
put("http", "error_list", json.dumps([{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]))
put("http", "head", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1.5\r\nX-Ratelimit-Remaining-Tokens: 12\r\nContent-Type: text/html\r\n\r\n")
put("http", "pooling", json.dumps({"id": "x", "object": "list", "data": [{"index": 0, "object": "pooling", "data": [[0.5], [1.25]]}], "usage": {}}))
put("http", "classify", json.dumps({"data": [{"index": 0, "label": "LABEL_0", "probs": [0.25], "num_classes": 1}]}))
put("http", "rewards", json.dumps({"data": [{"index": i, "status": s, "reward": r} for i, (s, r) in enumerate([("ok", 1.5), ("refused", None), ("ok", -2)])]}))
pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
chat = {"model": "m", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + pixel}}, {"type": "text", "text": "Q"}]}]}
put("http", "ask_rewards", json.dumps(chat | {"candidates": ["a", {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]}))
put("http", "ask_pooling", json.dumps(chat | {"messages": chat["messages"] + [{"role": "assistant", "content": "a"}], "use_activation": False}))
put("http", "ask_remote", json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://example.org/a.png"}]}], "candidates": ["a"]}))

# The first byte is how the bytes are cut.
ok = "HTTP/1.1 200 OK\r\n"
put("framing", "length", "\0" + ok + "Content-Type: application/json\r\nContent-Length: 4\r\n\r\nfour")
put("framing", "chunks", "\1" + ok + "Transfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nfou\r\n1\r\nr\r\n0\r\nX-Trailer: t\r\n\r\n")
put("framing", "close", "\5HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nfour")
put("framing", "goes_on", "\3HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + ok + "Content-Length: 2\r\n\r\n42behind")
put("framing", "empty", "\7HTTP/1.1 204 No Content\r\n\r\n")
packed = gzip.compress(b"four " * 20, mtime=0)
put("framing", "packed", b"\2" + ok.encode() + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    sys.exit("pyarrow is not there: no seeds for parquet")
rows = pa.table({"prompt": ["Q1", "Q2", "Q3"], "chosen": ["yes", "longer", "c"], "rejected": ["no", "r", None]})
lists = pa.table({"messages": [[{"role": "user", "content": "Q"}]] * 2, "responses": [["a", "b"], ["c"]], "images": [[{"bytes": b"\x89PNG\r\n", "path": None}], []]})
for name, table, options in (("plain", rows, {"compression": "none"}), ("snappy", rows, {"compression": "snappy"}), ("nested", lists, {"compression": "none"}),
                             ("pages", rows, {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"})):
    (root / "parquet").mkdir(exist_ok=True)
    pq.write_table(table, root / "parquet" / f"{name}.parquet", **options)
